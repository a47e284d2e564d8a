#!/bin/bash
# SPDX-License-Identifier: MIT
# --freeze-cgroup with freezers of both versions: a tree of several processes is dumped and runs on, its cgroup as it was found;
# then it is dumped, gone, and restored.
set -u
. tests/lib.sh
groups=()
trap 'cleanup; for g in "${groups[@]}"; do for i in 1 2 3 4 5; do rmdir "$g" 2>/dev/null && break; sleep 0.2; done; done' EXIT

state() { cat "$1/freezer.state" 2>/dev/null || sed -n 's/^frozen //p' "$1/cgroup.events"; }
set_frozen() { # GROUP 0|1
	if [ -e "$1/freezer.state" ]; then
		[ "$2" = 1 ] && echo FROZEN >"$1/freezer.state" || echo THAWED >"$1/freezer.state"
	else
		echo "$2" >"$1/cgroup.freeze"
	fi
}
is_state() { [ "$(state "$1")" = "$2" ]; }

try() { # DIRECTORY THAWED FROZEN (as the file says it)
	local group=$1/stasis-freeze-$$
	mkdir "$group" 2>/dev/null || return 1
	groups+=("$group")
	rm -rf "$DIR/work"; mkdir "$DIR/work"
	setsid "$BUILD/programs/core/tree_wide" "$DIR/work" </dev/null >"$DIR/out" 2>&1 & pid=$!; track $pid
	wait_for 30 test -e "$DIR/work/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
	for p in $(descendants $pid); do echo "$p" >"$group/cgroup.procs" 2>/dev/null || return 1; done
	dump $pid --leave-running --freeze-cgroup "$group" || fail "$group: dump --leave-running"
	wait_for 5 is_state "$group" "$2" || fail "$group: it was thawed, and is $(state "$group")"
	set_frozen "$group" 1
	wait_for 5 is_state "$group" "$3" || fail "$group: it cannot be frozen"
	dump $pid --leave-running --freeze-cgroup "$group" || fail "$group: dump of a frozen cgroup"
	wait_for 5 is_state "$group" "$3" || fail "$group: it was frozen, and is $(state "$group")"
	set_frozen "$group" 0
	dump $pid --freeze-cgroup "$group" || fail "$group: dump"
	wait_for 10 gone $pid || fail "$group: it still runs"
	wait $pid 2>/dev/null
	restore || fail "$group: restore"
	touch "$DIR/work/go"
	wait_for 30 test -s "$DIR/work/result" || fail "$group: no result"
	[ "$(cat "$DIR/work/result")" = ok ] || fail "$group: $(cat "$DIR/work/result")"
}
done=0
! try /sys/fs/cgroup/freezer THAWED FROZEN || done=1
for top in /sys/fs/cgroup /sys/fs/cgroup/unified; do
	[ ! -e "$top/cgroup.controllers" ] || ! try "$top" 0 1 || done=$((done + 1))
done
[ $done -gt 0 ] || skip "no cgroup with a freezer can be made here"
echo "freezers tried: $done"
