#!/bin/bash
# SPDX-License-Identifier: MIT
# A node HTTP server that also writes files all the time, without and with io_uring.
set -u
. tests/apps/lib.sh
needs node
cat >"$DIR/server.js" <<'EOF'
const fs = require('fs');
setInterval(() => fs.writeFile(process.argv[2] + '/tick' + process.argv[3], String(Date.now()), () => {}), 50);
require('http').createServer({ keepAliveTimeout: 600000 }, (q, r) => r.end('hello ' + q.url)).listen(Number(process.argv[3]), '127.0.0.1');
EOF
for uring in 0 1; do
	UV_USE_IO_URING=$uring setsid node "$DIR/server.js" "$DIR" $((PORT + uring)) </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	CLIENTS=()
	client one$uring http 127.0.0.1 $((PORT + uring))
	client two$uring http 127.0.0.1 $((PORT + uring))
	say "UV_USE_IO_URING=$uring"
	app_rounds $pid
done
