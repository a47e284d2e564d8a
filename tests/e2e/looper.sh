#!/bin/bash
# SPDX-License-Identifier: MIT
# A detached shell loop: dump and restore; --leave-running; ten rounds; crit reads every image.
set -u
. tests/lib.sh

cat >"$DIR/loop" <<'EOF'
i=0
while :; do i=$((i + 1)); echo "line $i"; sleep 0.02; done
EOF
cd "$DIR" || exit 1
setsid bash "$DIR/loop" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
lines() { wc -l <"$DIR/out"; }
grown() { [ "$(lines)" -ge "$1" ]; }
goes_on() { # each line once, in order, and more of them come
	wait_for 10 grown $(($(lines) + 5)) || fail "$1: no more output"
	awk '$0 != "line " NR {print NR ": " $0; bad = 1} END {exit bad}' <(head -n -1 "$DIR/out") || fail "$1: lines are lost or doubled"
}
goes_on "before"
dump $pid --leave-running || fail "dump --leave-running"
alive $pid || fail "it died of a dump that should leave it running"
goes_on "left running"
for ((round = 1; round <= 10; round++)); do
	dump $pid || fail "dump, round $round"
	wait_for 5 gone $pid || fail "round $round: it still runs after the dump"
	wait $pid 2>/dev/null
	at=$(lines); sleep 0.1
	[ "$(lines)" = "$at" ] || fail "round $round: output while it is dumped"
	restore || fail "restore, round $round"
	[ "$RESTORED" = $pid ] || fail "round $round: restored as $RESTORED, was $pid"
	goes_on "round $round"
done
tests=0
if command -v crit >/dev/null; then
	for f in "$DIR"/img/*.img; do
		case ${f##*/} in pages-*|x-*) continue;; esac # x-: not part of the well-known format
		crit show "$f" >"$DIR/json" 2>"$DIR/err" || fail "crit cannot read ${f##*/}: $(tail -1 "$DIR/err")"
		python3 -c 'import json,sys; json.load(sys.stdin)' <"$DIR/json" || fail "crit shows no JSON of ${f##*/}"
		tests=$((tests + 1))
	done
	for what in ps mems fds; do
		crit x "$DIR/img" $what >"$DIR/x.$what" 2>&1 || fail "crit x $what: $(cat "$DIR/x.$what")"
	done
	grep -q "$pid.*bash" "$DIR/x.ps" || fail "crit x ps does not show the shell: $(cat "$DIR/x.ps")"
	grep -q '/out' "$DIR/x.fds" || fail "crit x fds does not show the output file: $(cat "$DIR/x.fds")"
	[ $tests -gt 8 ] || fail "only $tests images"
else
	say "crit is not installed, images not shown to it"
fi
exit 0
