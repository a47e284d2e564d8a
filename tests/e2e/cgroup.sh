#!/bin/bash
# SPDX-License-Identifier: MIT
# A tree in a cgroup of its own: its membership is not kept, which check and dump say.
set -u
. tests/lib.sh
for top in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/pids; do
	group=$top/stasis-test-$$
	[ -e "$top/cgroup.procs" ] && mkdir "$group" 2>/dev/null && break
	group=
done
[ -n "$group" ] || skip "no cgroup can be made here"
trap 'cleanup; for i in 1 2 3 4 5; do rmdir "$group" 2>/dev/null && break; sleep 0.2; done' EXIT

setsid "$BUILD/programs/core/no_files" "$DIR" </dev/null >"$DIR/out" 2>&1 & pid=$!; track $pid
wait_for 10 test -e "$DIR/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
"$STASIS" check --pid $pid >"$DIR/check" 2>&1
! grep -q "its cgroup" "$DIR/check" || fail "a warning without need: $(cat "$DIR/check")"
echo $pid 2>/dev/null >"$group/cgroup.procs" || skip "no process can be moved into a cgroup here"
want="pid $pid (no_files): its cgroup .*/stasis-test-$$ is not restored"
"$STASIS" check --pid $pid >"$DIR/check" 2>&1
grep -q "$want" "$DIR/check" || fail "check does not warn: $(cat "$DIR/check")"
dump $pid --leave-running || fail "dump"
[ "$(grep -c "$want" "$DIR/img/dump.log")" = 1 ] || fail "dump does not warn once: $(cat "$DIR/img/dump.log")"
