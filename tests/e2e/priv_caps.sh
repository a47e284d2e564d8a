#!/bin/bash
# SPDX-License-Identifier: MIT
# The engine with few capabilities: an ordinary user's with CAP_CHECKPOINT_RESTORE and CAP_SYS_PTRACE dumps and restores what
# is his; with none it dumps, and restores in a user namespace of his own; whatever needs more names the capability.
set -u
. tests/lib.sh
[ "$(awk '{print $3; exit}' /proc/self/uid_map)" -gt 1000 ] || skip "this user namespace has no ordinary user"
reachable_build
real=$(realpath "$BUILD")/stasis; STASIS=$DIR/stasis; work=$DIR/work; chmod 755 "$DIR"
user=(setpriv --reuid 1000 --regid 1000 --clear-groups)

# with CAPS… : what the engine is started with from now on, as an ordinary user
with() { printf '#!/bin/bash\nexec %s --inh-caps %s --ambient-caps %s "%s" "$@"\n' "${user[*]}" "$1" "$1" "$real" >"$STASIS"; chmod 755 "$STASIS"; }
# without CAP: as root
without() { printf '#!/bin/bash\nexec setpriv --bounding-set -%s --inh-caps -%s "%s" "$@"\n' "$1" "$1" "$real" >"$STASIS"; chmod 755 "$STASIS"; }
start() { # PROGRAM
	rm -rf "$work" "$DIR/img"; mkdir -p "$work" "$DIR/img"; chown 1000:1000 "$work" "$DIR/img"
	rm -f "$DIR/out"; touch "$DIR/out"; chown 1000 "$DIR/out"
	(cd / && exec setsid "${user[@]}" --inh-caps -all "$BUILD/programs/$1" "$work" >"$DIR/out" 2>&1 </dev/null) & pid=$!; track $pid
	wait_for 10 test -e "$work/ready" || { grep -q SKIP "$work/result" && return 1; fail "$1 does not get ready: $(cat "$DIR/out")"; }
}
stop() { kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null; wait_for 5 gone $pid; }
dumped() { "$STASIS" dump -t $pid -D "$DIR/img" -o dump.log -v4 "$@" 2>"$DIR/err"; }
restored() { "$STASIS" restore -d -D "$DIR/img" -o restore.log -v4 "$@" 2>"$DIR/err"; }
away() { wait_for 5 gone $pid || fail "$1: it lives on after the dump"; wait $pid 2>/dev/null; }
finish() { touch "$work/go"; wait_for 10 test -s "$work/result" || fail "$1: no result"; [ "$(cat "$work/result")" = ok ] || fail "$1: $(cat "$work/result")"; }
whole() { # WHAT PROGRAM: dump --leave-running, dump, restore
	start "$2" || return 0
	dumped --leave-running || fail "$1: $2: dump --leave-running: $(cat "$DIR/err")"
	dumped || fail "$1: $2: dump: $(cat "$DIR/err")"
	away "$2"; restored || fail "$1: $2: restore: $(cat "$DIR/err")"
	finish "$1: $2"
}
names() { grep -q "$1" "$DIR/err" || fail "$2: $1 is not named: $(cat "$DIR/err")"; }
at_large() { alive $pid && grep -q '^TracerPid:[[:space:]]0$' /proc/$pid/status || fail "$1: the target is harmed"; }
has() { [ -x "$BUILD/programs/$1" ]; }

for caps in +checkpoint_restore,+sys_ptrace +checkpoint_restore; do
	with $caps
	for p in core/threads core/sessions core/zombies core/maps_gone core/posix_timers files/ghost pipes/contents eventfd/eventfd; do
		! has $p || whole "$caps" $p
	done
done

# more than that is named, with the object
with +checkpoint_restore,+sys_ptrace
if start core/seccomp_filter; then dumped && fail "filters are dumped"; names CAP_SYS_ADMIN filters; at_large filters; stop; fi
if has inet/established && start inet/established; then
	dumped --tcp-established && fail "a connection is dumped"; names CAP_NET_ADMIN "a connection"; at_large "a connection"; stop
fi
start core/threads; "$real" dump -t $pid -D "$DIR/img" -o dump.log || fail "root's dump"; away threads
chown -R 1001:1001 "$DIR/img"; restored && fail "another user's images are restored"; grep -qi "denied" "$DIR/err" || fail "another user's images: $(cat "$DIR/err")"
chown -R 1000:1000 "$DIR/img"; restored || fail "root's images, given to the user: $(cat "$DIR/err")"; finish "root's images"

# none: his own can be dumped; not what is another user's; pids cannot be chosen
with -all
start core/threads; dumped --unprivileged || fail "dump without capabilities: $(cat "$DIR/err")"; away "no capabilities"
restored --unprivileged && fail "a restore without capabilities"; names CAP_CHECKPOINT_RESTORE "restore without capabilities"
names "unshare -Urpf" "restore without capabilities"
sleep 1000 & pid=$!; track $pid
dumped -j && fail "root's process is dumped"; names CAP_SYS_PTRACE "root's process"; at_large "root's process"; stop

# in a user namespace of his own nothing is missing; the pids are those of its pid namespace
ns=("${user[@]}" --inh-caps -all unshare -U -r -p -m -f --mount-proc --kill-child)
if "${ns[@]}" true 2>/dev/null; then
	for p in core/threads core/sessions files/ghost pipes/contents; do
		has $p || continue
		rm -rf "$work"; mkdir "$work"; chown 1000:1000 "$work"
		(cd "$work" && DIR=$work STASIS=$real OWN_PTS=1 "${ns[@]}" bash "$TESTS/prog.sh" "$BUILD/programs/$p" rounds "$work/none" >"$DIR/out" 2>&1)
		rc=$?; [ $rc = 0 ] || [ $rc = 77 ] || fail "a user namespace of his own: $p: $(tail "$DIR/out")"
	done
fi

# root without one capability: what docs/stasis.8 says
lack() { # CAPABILITY PROGRAM
	local cap=$1 name; name=CAP_${cap^^}; shift
	without "$cap"
	has "$1" && start "$1" || return 0
	chown 0:0 "$DIR/img"
	if dumped; then
		away "$1"; restored && fail "$1 without $name: it succeeds"
		names "$name" "restore of $1"
	else
		names "$name" "dump of $1"; at_large "$1"; stop
	fi
}
lack dac_override core/threads
lack sys_ptrace core/threads
lack setuid core/threads
lack setgid core/threads
lack setpcap core/threads
lack sys_admin core/seccomp_filter
lack chown files/ghost
lack fowner files/ghost
for cap in kill sys_chroot net_raw mknod ipc_lock sys_nice dac_read_search fsetid; do
	without $cap; whole "root without $cap" core/threads
done
exit 0
