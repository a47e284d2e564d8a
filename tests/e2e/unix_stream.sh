#!/bin/bash
# SPDX-License-Identifier: MIT
# Two processes with unix sockets between them: ROUNDS times (default 5) dump, kill, a pause, restore, at any moment of their
# talk.  The program checks every byte and the borders of packets (plugins/unix/test/stream.c).
set -u
. tests/lib.sh
prog=$BUILD/programs/unix/stream
[ -x "$prog" ] && "$STASIS" plugins | grep -q '^ *unix\b' || fail "there is no plugin for unix sockets"
work=$DIR/work; mkdir -p "$work"; cd "$work" || exit 1
setsid "$prog" "$work" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 10 test -e "$work/ready" || fail "it does not start"
failed() { ! test -e "$work/result" || fail "round $1: $(cat "$work/result")"; }
for ((round = 1; round <= ${ROUNDS:-5}; round++)); do
	sleep 0.0$((RANDOM % 4))$((RANDOM % 10)) # at any moment of its life
	if ((round % 5 == 0)); then
		dump "$pid" --leave-running || fail "dump --leave-running, round $round"
		alive "$pid" || fail "it died of a dump that should leave it running"
		failed "$round"
	fi
	dump "$pid" || fail "dump, round $round"
	wait_for 5 gone "$pid" || fail "round $round: it still runs"
	wait "$pid" 2>/dev/null
	restore || fail "restore, round $round"
	pid=$RESTORED
	failed "$round"
done
touch "$work/go"
wait_for 30 test -s "$work/result" || { cat "$DIR/out"; ss -xn; fail "it does not end"; }
read -r r <"$work/result"
[ "$r" = ok ] || fail "$r"
say "$((round - 1)) rounds, bytes: $(xargs <"$work/counts")"
