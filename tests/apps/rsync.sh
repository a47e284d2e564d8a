#!/bin/bash
# SPDX-License-Identifier: MIT
# rsync in mid-transfer: its daemon, to a client that is not dumped; and a local copy, all of whose processes are.
set -u
. tests/apps/lib.sh
needs rsync
mkdir "$DIR/from"
for i in 1 2 3 4 5 6; do head -c 3000000 /dev/urandom >"$DIR/from/$i"; done
cat >"$DIR/rsyncd.conf" <<EOF
pid file = $DIR/pid
use chroot = no
uid = root
gid = root
[data]
path = $DIR/from
EOF
setsid rsync --daemon --no-detach --config="$DIR/rsyncd.conf" --port=$PORT --address=127.0.0.1 </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 10 rsync -q "rsync://127.0.0.1:$PORT/data/" || { cat "$DIR/out"; fail "the daemon does not start"; }
rsync -a --bwlimit=2000 "rsync://127.0.0.1:$PORT/data/" "$DIR/to/" >"$DIR/client" 2>&1 &
client=$!; track $client
some() { [ "$(du -sb "$1" 2>/dev/null | cut -f1)" -gt "$2" ]; }
# how many rounds fit into a transfer depends on the machine: one at least
rounds=0
for round in 1 2 3; do
	alive $client || break
	wait_for 20 some "$DIR/to" $((round * 1500000)) || { cat "$DIR/client"; fail "round $round: the transfer stands still"; }
	alive $client || break
	dump $pid --tcp-established --file-locks || fail "dump, round $round"
	wait_for 10 gone $pid; wait $pid 2>/dev/null
	restore --tcp-established --file-locks || fail "restore, round $round"
	rounds=$round
done
[ $rounds -gt 0 ] || fail "the transfer is over before anything could be done"
wait $client || { cat "$DIR/client"; fail "the client failed"; }
diff -r "$DIR/from" "$DIR/to" || fail "the copy differs"

setsid rsync -a --bwlimit=2000 "$DIR/from/" "$DIR/copy/" </dev/null >"$DIR/local" 2>&1 &
pid=$!; track $pid
rounds=0
for round in 1 2 3; do
	alive $pid || break
	wait_for 20 some "$DIR/copy" $((round * 1500000)) || { cat "$DIR/local"; fail "round $round: the copy stands still"; }
	alive $pid || break
	dump $pid || { alive $pid || break; fail "dump of the copy, round $round"; }
	wait_for 10 gone $pid; wait $pid 2>/dev/null
	restore || fail "restore of the copy, round $round"
	rounds=$round
done
[ $rounds -gt 0 ] || fail "the copy is done before anything could be done"
wait_for 60 gone $pid || fail "the copy does not end"
diff -r "$DIR/from" "$DIR/copy" || { cat "$DIR/local"; fail "the local copy differs"; }
