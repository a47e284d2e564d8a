# SPDX-License-Identifier: MIT
# lib.sh: what the test scripts share.  Sourced by bash; needs BUILD (absolute), DIR (an empty directory of the test's own).
#
# A script ends with exit status 0 (passed), 77 (skipped, the last line of output says why) or anything else.

: "${BUILD:?}" "${DIR:?}"
STASIS=${STASIS:-$BUILD/stasis}
PIDS=()

# Terminals and a network of the test's own: terminal numbers, ports and abstract names must be free again at restore,
# whatever runs beside.
if [ -z "${OWN_PTS:-}" ]; then
	export BUILD DIR OWN_PTS=1
	own='mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts && ip link set lo up'
	! unshare -m -n sh -c "$own" 2>/dev/null || exec unshare -m -n bash -c "$own"' && exec bash "$@"' bash "$0" "$@"
fi

# What the caller left open must not become part of a tree that is dumped; 255 is bash's own.
for fd in /proc/$$/fd/*; do
	fd=${fd##*/}
	[ "$fd" -lt 3 ] || [ "$fd" = 255 ] || eval "exec $fd>&-"
done
unset fd

say() { printf '%s\n' "$*"; }
fail() { say "FAIL: $*"; exit 1; }
skip() { say "SKIP: $*"; exit 77; }

# Everything that was started or restored, ended by pid.
track() { PIDS+=("$@"); }
descendants() {
	local p c
	for p in "$@"; do
		for c in $(cat /proc/"$p"/task/*/children 2>/dev/null); do descendants "$c"; done
		echo "$p"
	done
}
cleanup() {
	local p
	for p in $(descendants "${PIDS[@]}" 2>/dev/null | sort -un); do kill -KILL "$p" 2>/dev/null; done
	return 0
}
trap cleanup EXIT

# wait_for SECONDS COMMAND…: until the command succeeds; TEST_PATIENCE times as long on a slow machine
wait_for() {
	local end=$((SECONDS + $1 * ${TEST_PATIENCE:-1})); shift
	until "$@" 2>/dev/null; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}
# a process that runs: not gone, not a zombie
alive() { local s; s=$(sed 's/.*) //' /proc/"$1"/stat 2>/dev/null) && [ -n "$s" ] && [ "${s%% *}" != Z ] && [ "${s%% *}" != X ]; }
gone() { ! alive "$1"; }

# Where ordinary users cannot reach the build and the tests (in a checkout below /root, say): copies that they can.
TESTS=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
reachable_build() {
	setpriv --reuid 1000 --regid 1000 --clear-groups test -x "$(realpath "$BUILD")/stasis" && return
	chmod 755 "$DIR"; mkdir "$DIR/build"
	cp -a "$BUILD/stasis" "$BUILD/plugins" "$BUILD/programs" "$DIR/build" && mkdir "$DIR/tests" && cp "$TESTS"/*.sh "$DIR/tests" ||
		fail "cannot copy $BUILD"
	BUILD=$DIR/build TESTS=$DIR/tests
}

# dump PID [OPTION…] into $DIR/img (anew)
dump() {
	local pid=$1; shift
	rm -rf "$DIR/img"; mkdir -p "$DIR/img"
	"$STASIS" dump -t "$pid" -D "$DIR/img" -o dump.log -v4 "$@" && return 0
	say "--- dump.log"; tail -n 40 "$DIR/img/dump.log"
	return 1
}
# restore [OPTION…] from $DIR/img, detached; leaves the root's pid in $RESTORED
restore() {
	rm -f "$DIR/restored.pid"
	if ! "$STASIS" restore -d -D "$DIR/img" -o restore.log -v4 --pidfile "$DIR/restored.pid" "$@"; then
		say "--- restore.log"; tail -n 40 "$DIR/img/restore.log"
		return 1
	fi
	RESTORED=$(cat "$DIR/restored.pid")
	track "$RESTORED"
}

# Programs with counters in $DIR/beat, one line; every one of them has grown by STEP since WAS.
all_beyond() { # STEP WAS
	local a b i
	read -r -a a <<<"$2"; read -r -a b <"$DIR/beat" || return 1
	[ ${#b[@]} = ${#a[@]} ] || return 1
	for i in "${!a[@]}"; do [ "${b[i]}" -ge $((${a[i]} + $1)) ] || return 1; done
}
# ten_rounds STEP: the program $pid is dumped and left running, then ten times dumped, ended and restored; its counters go on
ten_rounds() {
	local round was
	dump "$pid" --leave-running || fail "dump --leave-running"
	alive "$pid" || fail "it died of a dump that should leave it running"
	for round in 1 2 3 4 5 6 7 8 9 10; do
		dump "$pid" || fail "dump, round $round"
		wait_for 5 gone "$pid"; wait "$pid" 2>/dev/null
		was=$(cat "$DIR/beat")
		restore || fail "restore, round $round"
		wait_for 20 all_beyond "$1" "$was" || { tail "$DIR/out" "$DIR/beat"; fail "round $round: it does not go on, counters were $was"; }
	done
}
# the program's own account in $DIR/result
result_ok() {
	wait_for 20 test -s "$DIR/result" || { tail "$DIR/out"; fail "no result"; }
	[ "$(cat "$DIR/result")" = ok ] || fail "$(cat "$DIR/result")"
}
