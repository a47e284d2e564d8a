#!/bin/bash
# SPDX-License-Identifier: MIT
# Only the loop below script(1) is dumped: the terminal stays with script, and the restored loop gets one of its own.
set -u
. tests/lib.sh
command -v script >/dev/null || skip "script is not installed"
printf '%s\n' 'echo $$ >"$1/pid"; i=0; while :; do i=$((i + 1)); echo "tick $i"; echo $i >"$1/count"; sleep 0.05; done' >"$DIR/loop"
count() { local n; n=$(cat "$DIR/count" 2>/dev/null); echo "${n:-0}"; }
beyond() { [ "$(count)" -gt "$1" ]; }
script -q -f -c "bash $DIR/loop $DIR; :" "$DIR/typescript" </dev/null >"$DIR/out" 2>&1 &
track $!
wait_for 10 beyond 5 || fail "the loop does not start: $(cat "$DIR/out")"
pid=$(cat "$DIR/pid"); track $pid
dump $pid --shell-job || fail "dump"
wait_for 5 gone $pid || fail "it runs after the dump"
n=$(count)
script -q -f -c "$STASIS restore --shell-job -D $DIR/img -o restore.log -v4; echo ended-\$?" "$DIR/second" </dev/null >"$DIR/out2" 2>&1 &
track $!
wait_for 15 beyond $((n + 5)) || { tail -n 20 "$DIR/img/restore.log"; fail "it does not go on: $(cat "$DIR/out2")"; }
wait_for 5 grep -q "^tick $((n + 5))" "$DIR/second" || fail "the output is not in the new terminal: $(cat "$DIR/second")"
kill -TERM $pid
wait_for 5 gone $pid || fail "it does not end"
wait_for 5 grep -q "^ended-" "$DIR/second" || fail "restore does not end with its tree"
