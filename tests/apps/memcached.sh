#!/bin/bash
# SPDX-License-Identifier: MIT
# memcached as an ordinary user.
set -u
. tests/apps/lib.sh
needs memcached
setsid memcached -u nobody -l 127.0.0.1 -p $PORT </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
client one memcached 127.0.0.1 $PORT
app_rounds $pid
