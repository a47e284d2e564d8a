#!/bin/bash
# SPDX-License-Identifier: MIT
# swrk and service, by a client whose messages come from Debian's pycriu: versions, features, dump and restore with
# notifications, errors with their cause, configuration of a request, several requests on one connection.
set -u
. tests/lib.sh
py=/usr/bin/python3
$py -c 'import pycriu.rpc_pb2' 2>/dev/null || skip "pycriu (package criu) is not installed"
mkdir "$DIR/w"
$py tests/e2e/rpc/client.py "$BUILD/criu" "$DIR/w" >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait $pid && ! grep -q FAIL "$DIR/out" || { cat "$DIR/out"; fail "the client is not content"; }
[ "$(grep -c '^ok' "$DIR/out")" -ge 28 ] || { cat "$DIR/out"; fail "steps are missing"; }
