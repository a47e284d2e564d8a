#!/bin/bash
# SPDX-License-Identifier: MIT
# dbus-daemon with clients; a unix connection has no life of its own, so the clients are in the tree that is dumped.
set -u
. tests/apps/lib.sh
needs dbus-daemon
cat >"$DIR/bus.conf" <<EOF
<busconfig><type>session</type><listen>unix:path=$DIR/bus</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
EOF
cat >"$DIR/session" <<EOF
dbus-daemon --config-file="$DIR/bus.conf" --nofork --nopidfile &
while [ ! -S "$DIR/bus" ]; do sleep 0.05; done
python3 tests/apps/client.py "$DIR/one" dbus "$DIR/bus" &
python3 tests/apps/client.py "$DIR/two" dbus "$DIR/bus" &
wait
EOF
setsid bash "$DIR/session" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
CLIENTS=(one two)
for c in one two; do wait_for 20 test -s "$DIR/$c.beat" || { cat "$DIR/out"; fail "$c does not start"; }; done
app_rounds $pid
