#!/bin/bash
# SPDX-License-Identifier: MIT
# A shell pipeline of five programs, with data under way in every pipe: nothing is lost, doubled or out of order.
set -u
. tests/lib.sh
cd "$DIR" || exit 1
cat >"$DIR/job" <<'EOF'
{ i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); echo $i; done; touch made; while [ ! -e go ]; do sleep 0.05; done; echo last; } |
	cat | grep -v '^never$' | sed 's/$/ x/' | while read -r n x; do
		echo "$n"; [ $((n % 500)) != 0 ] 2>/dev/null || sleep 0.02
	done >result
touch done
EOF
setsid bash "$DIR/job" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
size() { stat -c %s "$DIR/result" 2>/dev/null || echo 0; }
bigger() { [ "$(size)" -gt "$1" ]; }
wait_for 10 bigger 5000 || fail "the pipeline does not start"
dump "$pid" --leave-running || fail "dump --leave-running"
alive "$pid" || fail "it died of a dump that should leave it running"
for round in 1 2 3 4 5 6 7 8 9 10; do
	dump $pid || fail "dump, round $round"
	wait_for 5 gone $pid; wait $pid 2>/dev/null
	restore || fail "restore, round $round"
	n=$(size); [ -e made ] || wait_for 10 bigger "$n" || fail "round $round: it does not go on"
done
touch go
wait_for 60 test -e done || fail "the pipeline does not end"
cmp result <(seq 60000; echo last) || fail "the output is wrong"
