#!/bin/bash
# SPDX-License-Identifier: MIT
# Processes of a shape that cannot be dumped: each is refused by pid and by what is in the way, of root and of an ordinary user,
# by dump and by check; it runs on and nothing is left.  What this machine lacks is left out, and said.
set -u
. tests/lib.sh
prog=$BUILD/programs/core/odd_shapes tried=0
chmod 755 "$DIR"
user=()
[ "$(awk '{print $3; exit}' /proc/self/uid_map)" -le 1000 ] || user=(setpriv --reuid 1000 --regid 1000 --clear-groups)
refused() { # SHAPE WORDS [COMMAND…]: the commands that see it, dump and check
	local shape=$1 words=$2 r; shift 2
	[ $# -gt 0 ] || set -- "dump -t" "check --pid"
	rm -rf "$DIR/w" "$DIR/img"; mkdir -m 777 "$DIR/w"; mkdir "$DIR/img"
	setsid "${cmd[@]}" "$prog" "$DIR/w" "$shape" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 20 test -e "$DIR/w/ready" -o -s "$DIR/w/result" || { cat "$DIR/out"; fail "$as $shape: no start"; }
	if [ ! -e "$DIR/w/ready" ]; then
		read -r r <"$DIR/w/result"; say "$as $shape: $r"
		case $r in SKIP*) for p in $(descendants $pid); do kill -KILL "$p" 2>/dev/null; done; return;; *) fail "$as $shape: $r";; esac
	fi
	tried=$((tried + 1))
	for what; do
		# shellcheck disable=SC2086
		! "$STASIS" $what $pid -D "$DIR/img" >"$DIR/says" 2>&1 || fail "$as $shape: $what succeeds"
		grep -q "\(pid\|process\) [0-9]*.*$words" "$DIR/says" || { cat "$DIR/says"; fail "$as $shape: '$words' is not said by $what"; }
	done
	[ -z "$(ls "$DIR/img" | grep -v '\.log$')" ] || { ls "$DIR/img"; fail "$as $shape: images are left"; }
	touch "$DIR/w/go"
	wait_for 20 test -s "$DIR/w/result" || { cat "$DIR/out"; fail "$as $shape: it does not go on"; }
	read -r r <"$DIR/w/result"; [ "$r" = ok ] || fail "$as $shape: $r"
	wait $pid 2>/dev/null
}
for as in root user; do
	cmd=(env); [ $as = root ] || cmd=("${user[@]}"); [ ${#cmd[@]} -gt 0 ] || continue
	refused supervisor "thread [0-9]* has a seccomp filter that asks another process.*start it without that supervisor" "dump -t" # a running task shows its filters to nobody
	refused memory "shares its memory with pid [0-9]*.*wait until"
	refused directory "thread [0-9]*.*a working directory of its own"
	refused descriptors "thread [0-9]*.*descriptors of its own"
	refused names "thread [0-9]*.*a uts namespace of its own"
	refused pids "a pid namespace inside the tree's.*dump the inner tree"
	refused hosts "another uts namespace.*nsenter"
	refused leaderless "has exited.*let its threads end"
	refused ldt "a local descriptor table" "dump -t"
	refused tags "its addresses carry tags"
	refused shadow "a shadow stack"
done
[ $tried -gt 0 ] || skip "the kernel gives none of these"
