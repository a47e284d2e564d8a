#!/bin/bash
# SPDX-License-Identifier: MIT
# The engine is killed at some moment of a dump of a process with TCP connections to one that is not dumped: they go on as
# if nothing had been (plugins/inet/test/stream.c checks every byte), and no rule of the network lock stays.
set -u
. tests/lib.sh
prog=$BUILD/programs/inet/stream
[ -x "$prog" ] && "$STASIS" plugins | grep -q '^ *inet\b' || fail "there is no plugin for TCP"
work=$DIR/work; mkdir -p "$work"; cd "$work" || exit 1
setsid "$prog" "$work" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 10 test -e "$work/ready" || fail "it does not start"
lets_go() { ! grep -q '[tT] (tracing stop)' /proc/"$pid"/status; }
killed=0
for ((round = 1; round <= ${ROUNDS:-40}; round++)); do
	rm -rf "$DIR/img"; mkdir "$DIR/img"
	"$STASIS" dump -t "$pid" -D "$DIR/img" -o dump.log -v4 --tcp-established --leave-running >/dev/null 2>&1 &
	engine=$!
	sleep 0.0$((RANDOM % 7))$((RANDOM % 10))
	kill -KILL $engine 2>/dev/null && killed=$((killed + 1))
	wait $engine 2>/dev/null
	wait_for 10 lets_go || fail "round $round: nobody lets it go"
	[ ! -e result ] || fail "round $round: $(cat result)"
done
[ $killed -gt 0 ] || fail "no dump was killed before it was done"
touch go
wait_for 30 test -s result || { cat "$DIR/out"; ss -tin; fail "it does not end"; }
read -r r <result
[ "$r" = ok ] || fail "$r"
! command -v nft >/dev/null || [ -z "$(nft list ruleset)" ] || { nft list ruleset; fail "rules of the network lock stay"; }
say "$killed of $((round - 1)) dumps were killed"
