#!/bin/bash
# SPDX-License-Identifier: MIT
# redis-server under pipelined writes of two clients.
set -u
. tests/apps/lib.sh
needs redis-server
setsid redis-server --port $PORT --dir "$DIR" --save "" --appendonly yes --logfile "$DIR/log" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
client one redis 127.0.0.1 $PORT
client two redis ::ffff:127.0.0.1 $PORT
app_rounds $pid
