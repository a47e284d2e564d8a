#!/bin/bash
# SPDX-License-Identifier: MIT
# A background job of an interactive shell: dumped from the very terminal that it writes to and restored there.
set -u
. tests/lib.sh
command -v tmux >/dev/null || skip "tmux is not installed"
sock=$DIR/tmux
tm() { tmux -S "$sock" -f /dev/null "$@"; }
end() { tm kill-server 2>/dev/null; cleanup; }
trap end EXIT
cat >"$DIR/loop" <<'EOF'
echo $$ >"$1/pid"; i=0
while :; do i=$((i + 1)); echo "tick $i"; echo $i >"$1/count"; sleep 0.1; done
EOF
mkdir "$DIR/img"
TERM=xterm tm new-session -d -s t -x 120 -y 40 "env PS1='\$ ' bash --norc --noprofile -i" || skip "tmux does not start"
type_in() { tm send-keys -t t -l "$1"; tm send-keys -t t Enter; }
count() { local n; n=$(cat "$DIR/count" 2>/dev/null); echo "${n:-0}"; }
beyond() { [ "$(count)" -gt "$1" ]; }
ticks() { [ "$(tm capture-pane -p -t t | sed -n 's/^tick //p' | tail -n 1)" -gt "$1" ]; } # older lines have scrolled away

type_in "bash $DIR/loop $DIR &"
wait_for 10 beyond 5 || fail "the loop does not start: $(tm capture-pane -p -t t)"
pid=$(cat "$DIR/pid"); track $pid
type_in "$STASIS dump -t $pid --shell-job -D $DIR/img -o dump.log -v4; echo \$? >$DIR/rc"
wait_for 15 test -s "$DIR/rc" || fail "the dump does not end: $(tm capture-pane -p -t t)"
[ "$(cat "$DIR/rc")" = 0 ] || { tail -n 20 "$DIR/img/dump.log"; fail "dump: $(tm capture-pane -p -t t)"; }
wait_for 5 gone $pid || fail "it runs after the dump"
n=$(count)
type_in "clear; $STASIS restore --shell-job -D $DIR/img -o restore.log -v4"
wait_for 15 beyond $((n + 3)) || { tail -n 20 "$DIR/img/restore.log"; fail "restore: $(tm capture-pane -p -t t)"; }
wait_for 5 ticks $((n + 2)) || fail "the output is not in the terminal: $(tm capture-pane -p -t t)"
tm send-keys -t t C-c
wait_for 5 gone $pid || fail "the interrupt key does not reach it"
