#!/bin/bash
# SPDX-License-Identifier: MIT
# A tmux server with shells in its windows; clients come and go.
set -u
. tests/apps/lib.sh
needs tmux
t() { env -u TMUX tmux -S "$DIR/sock" -f /dev/null "$@"; }
t new-session -d -s one -x 100 -y 30 "exec bash --norc" || fail "tmux"
t split-window -t one "exec bash --norc"; t new-window -t one "exec bash --norc"
pid=$(t display -p '#{pid}'); track "$pid"
shells_answer() { # each shell goes on counting in its own variable
	local pane n=$1
	for pane in $(t list-panes -s -t one -F '#{pane_id}'); do
		t send-keys -t "$pane" "n=\$((\${n:-0} + 1)); echo count \$n-$n" Enter
		wait_for 10 bash -c "tmux -S '$DIR/sock' capture-pane -p -t $pane | grep -q 'count $n-$n'" ||
			{ t capture-pane -p -t "$pane"; fail "round $n: pane $pane does not answer"; }
	done
}
shells_answer 1
dump "$pid" --leave-running || fail "dump --leave-running"
shells_answer 2
for ((round = 1; round <= ROUNDS; round++)); do
	dump "$pid" || fail "dump, round $round"
	wait_for 10 gone "$pid" || fail "it still runs"
	restore || fail "restore, round $round"
	shells_answer $((round + 2))
done
t kill-server
