#!/bin/bash
# SPDX-License-Identifier: MIT
# A loop in a terminal, under tmux: dumped with --shell-job from a second window and from its own, restored in the
# terminal, and its output goes on there.
set -u
. tests/lib.sh
command -v tmux >/dev/null || skip "tmux is not installed"
sock=$DIR/tmux
tm() { tmux -S "$sock" -f /dev/null "$@"; }
end() { tm kill-server 2>/dev/null; cleanup; }
trap end EXIT

cat >"$DIR/loop" <<'EOF'
echo $$ >"$1/pid"; i=0
while :; do i=$((i + 1)); echo "tick $i"; echo $i >"$1/count"; sleep 0.05; done
EOF
mkdir "$DIR/img"
TERM=xterm tm new-session -d -s t -x 120 -y 40 "env PS1='\$ ' bash --norc --noprofile -i" || skip "tmux does not start"
tm new-window -d -t t:1 "env PS1='\$ ' bash --norc --noprofile -i"
type_in() { tm send-keys -t "t:$1" -l "$2"; tm send-keys -t "t:$1" Enter; }
screen() { tm capture-pane -p -t "t:$1"; }
count() { local n; n=$(cat "$DIR/count" 2>/dev/null); echo "${n:-0}"; }
beyond() { [ "$(count)" -gt "$1" ]; }
shows() { screen "$1" | grep -qxF -- "$2"; }
ticks() { [ "$(screen "$1" | sed -n 's/^tick //p' | tail -n 1)" -gt "$2" ]; } # older lines have scrolled away
stasis_line() { echo "$STASIS $* --shell-job -D $DIR/img -v4"; }

type_in 0 "bash $DIR/loop $DIR"
wait_for 10 beyond 5 || fail "the loop does not start: $(screen 0)"
pid=$(cat "$DIR/pid"); track $pid

# without the option it is refused and goes on
"$STASIS" dump -t $pid -D "$DIR/img" -o refused.log 2>"$DIR/err" && fail "dumped without --shell-job"
grep -q -- --shell-job "$DIR/err" || fail "the refusal does not name --shell-job: $(cat "$DIR/err")"
n=$(count); wait_for 5 beyond $n || fail "it stopped after a refused dump"

# from the second window, restored there
type_in 1 "$(stasis_line dump -t $pid -o dump.log); echo dumped-\$?"
wait_for 15 shows 1 dumped-0 || { tail -n 20 "$DIR/img/dump.log"; fail "dump from another window: $(screen 1)"; }
wait_for 5 gone $pid || fail "it runs after the dump"
n=$(count)
type_in 1 "clear; $(stasis_line restore -o restore.log)"
wait_for 15 beyond $((n + 3)) || { tail -n 20 "$DIR/img/restore.log"; fail "restore in the other window: $(screen 1)"; }
wait_for 5 ticks 1 $((n + 2)) || fail "the output is not in the window of the restore: $(screen 1)"
alive $pid || fail "the loop has another pid"

# from its own terminal: stopped there by the shell's means, continued after the restore
type_in 0 "clear; $(stasis_line dump -t $pid -o dump2.log); echo dumped-\$?"
wait_for 15 shows 0 dumped-0 || { tail -n 20 "$DIR/img/dump2.log"; fail "second dump: $(screen 0)"; }
wait_for 5 gone $pid || fail "it runs after the second dump"
n=$(count)
type_in 0 "clear; $(stasis_line restore -o restore2.log)"
wait_for 15 beyond $((n + 3)) || { tail -n 20 "$DIR/img/restore2.log"; fail "restore in its first window: $(screen 0)"; }
wait_for 5 ticks 0 $((n + 2)) || fail "the output is not in its window: $(screen 0)"

# the keyboard of that terminal ends it
tm send-keys -t t:0 C-c
wait_for 5 gone $pid || fail "the interrupt key does not reach it"
