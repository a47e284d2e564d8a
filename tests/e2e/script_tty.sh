#!/bin/bash
# SPDX-License-Identifier: MIT
# A loop under script(1): script itself, its terminal and the loop are one tree; the typescript goes on.
set -u
. tests/lib.sh
command -v script >/dev/null || skip "script is not installed"
printf '%s\n' 'i=0; while :; do i=$((i + 1)); echo "tick $i"; echo $i >"$1/count"; sleep 0.05; done' >"$DIR/loop"
setsid script -q -f -c "bash $DIR/loop $DIR" "$DIR/typescript" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
count() { local n; n=$(cat "$DIR/count" 2>/dev/null); echo "${n:-0}"; }
beyond() { [ "$(count)" -gt "$1" ]; }
wait_for 10 beyond 5 || fail "the loop does not start: $(cat "$DIR/out")"
for round in 1 2; do
	dump $pid || fail "dump, round $round"
	wait_for 5 gone $pid; wait $pid 2>/dev/null
	n=$(count); sleep 0.2
	[ "$(count)" = "$n" ] || fail "it runs after the dump"
	restore || fail "restore, round $round"
	wait_for 10 beyond $((n + 5)) || fail "round $round: it does not go on"
	wait_for 5 grep -q "^tick $((n + 5))" "$DIR/typescript" || fail "round $round: the typescript does not go on"
done
tr -d '\r' <"$DIR/typescript" | awk '/^tick/ {n++; if ($2 != n) {print; exit 1}}' || fail "lines are lost or doubled"
