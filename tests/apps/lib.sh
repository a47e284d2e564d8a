# SPDX-License-Identifier: MIT
# lib.sh: for the tests of whole applications: a server is dumped, ended and restored in rounds while its clients, which are not
# dumped, stay connected and check every answer.  Sourced; also sources tests/lib.sh.
. tests/lib.sh
ROUNDS=${ROUNDS:-5}
CLIENTS=()

# client NAME ARGUMENTS…: starts tests/apps/client.py, which counts its answers in $DIR/NAME.beat and says in $DIR/NAME.error what is wrong
client() {
	local name=$1; shift
	python3 tests/apps/client.py "$DIR/$name" "$@" </dev/null >"$DIR/$name.out" 2>&1 &
	track $!; CLIENTS+=("$name")
	wait_for 20 test -s "$DIR/$name.beat" || { cat "$DIR/$name.out"; fail "client $name does not start"; }
}
beat() { cat "$DIR/$1.beat"; }
beats_on() { local b; b=$(beat "$1") && [ "${b:-0}" -gt $(($2 + 3)) ]; }
clients_fine() { # all of them get answers
	local c was
	for c in "${CLIENTS[@]}"; do
		[ ! -s "$DIR/$c.error" ] || fail "$1: client $c: $(cat "$DIR/$c.error")"
		was=$(beat "$c")
		wait_for 30 beats_on "$c" "${was:-0}" || { cat "$DIR/$c.out" "$DIR/$c.error" 2>/dev/null; fail "$1: client $c gets no answer (${was:-0})"; }
		[ ! -s "$DIR/$c.error" ] || fail "$1: client $c: $(cat "$DIR/$c.error")"
	done
}
# app_rounds PID [OPTION…]: left running once, then $ROUNDS times dumped, ended, restored
app_rounds() {
	local pid=$1 round; shift
	track "$pid"
	clients_fine "before"
	dump "$pid" --leave-running --tcp-established --file-locks --ghost-limit 64M "$@" || fail "dump --leave-running"
	clients_fine "left running"
	for ((round = 1; round <= ROUNDS; round++)); do
		dump "$pid" --tcp-established --file-locks --ghost-limit 64M "$@" || fail "dump, round $round"
		wait_for 10 gone "$pid" || fail "it still runs after the dump"
		wait "$pid" 2>/dev/null
		restore --tcp-established --file-locks "$@" || fail "restore, round $round"
		clients_fine "round $round"
	done
}
needs() { local p; for p; do command -v "$p" >/dev/null || skip "$p is not installed"; done; }
needs python3
PORT=7001 # the network is this test's own
