#!/bin/bash
# SPDX-License-Identifier: MIT
# A Python asyncio server that sends back what it gets.
set -u
. tests/apps/lib.sh
cat >"$DIR/server.py" <<'EOF'
import asyncio, sys
async def serve(r, w):
    while True:
        data = await r.read(65536)
        if not data: break
        w.write(data)
        await w.drain()
async def main():
    s = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    async with s: await s.serve_forever()
asyncio.run(main())
EOF
setsid python3 "$DIR/server.py" $PORT </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
client one echo 127.0.0.1 $PORT
client two echo 127.0.0.1 $PORT
app_rounds $pid
