#!/bin/bash
# SPDX-License-Identifier: MIT
# A node HTTP server, UV_USE_IO_URING=1.
set -u
. tests/apps/lib.sh
needs node
cat >"$DIR/server.js" <<'EOF'
const fs = require('fs');
setInterval(() => fs.writeFile(process.argv[2] + '/tick', String(Date.now()), () => {}), 50);
require('http').createServer({ keepAliveTimeout: 600000 }, (q, r) => r.end('hello ' + q.url)).listen(Number(process.argv[3]), '127.0.0.1');
EOF
UV_USE_IO_URING=1 setsid node "$DIR/server.js" "$DIR" $PORT </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
client one http 127.0.0.1 $PORT
client two http 127.0.0.1 $PORT
app_rounds $pid
