#!/bin/bash
# SPDX-License-Identifier: MIT
# With --compat-images shared anonymous memory is the mapping of a memfd, which is how other readers know it: the images
# say so, and the memory is still one for all who had it, through two rounds.
set -u
. tests/lib.sh
prog=$BUILD/programs/core/maps_shared work=$DIR/work
mkdir -p "$work"
setsid "$prog" "$work" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 20 test -e "$work/ready" || fail "the program does not get ready"
maps=$(readlink /proc/$pid/map_files/* 2>/dev/null | grep -c '^/dev/zero (deleted)')
[ "$maps" -gt 0 ] || skip "map_files may not be read here"
stat -L /proc/$pid/map_files/* >/dev/null 2>&1 || skip "map_files may not be followed here"
for round in 1 2; do
	dump $pid --compat-images || fail "dump (round $round)"
	wait $pid 2>/dev/null
	[ "$(grep -ao /dev/zero "$DIR/img/memfd.img" | wc -l)" -ge 3 ] || fail "memfd.img does not have the memory"
	restore || fail "restore (round $round)"
	pid=$RESTORED
done
touch "$work/go"
wait_for 20 test -s "$work/result" || fail "the program gives no result"
[ "$(cat "$work/result")" = ok ] || fail "$(cat "$work/result")"
