#!/bin/bash
# SPDX-License-Identifier: MIT
# run.sh sweep|warden|faults|trouble [-t SECONDS] [-k 'KIND…'] [-a 'ACTION…'] [OPTION…]: the driver of that name, in namespaces of its
# own, once for each kind of target (kill.h) and each action (run, copy, dump, restore).  -t is the time for all of them
# together.  BUILD: build directory; other options are the driver's.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
driver=$1; shift
kinds="single tree sleep handler altstack rseq stopped frozen pipes redis" actions="run dump restore" seconds=0
case $driver in
faults) kinds="single tree pipes";;
trouble) kinds="tree restless" actions=all;;
esac
rest=()
# a stopped or frozen task can only come back when it goes on
[ "$driver" != warden ] || kinds="single tree sleep handler altstack rseq pipes redis" actions="run copy"
while [ $# -gt 0 ]; do
	case $1 in
	-k) kinds=$2; shift;;
	-a) actions=$2; shift;;
	-t) seconds=$2; shift;;
	*) rest+=("$1");;
	esac
	shift
done
# an engine that is traced cannot look for leaks; those are looked for elsewhere
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
! grep -q __asan_init "$BUILD/stasis" || export SANITIZED=1
dir=$(mktemp -d /tmp/stasis-kill.XXXXXX)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
rc=0 n=0 left=0
for k in $kinds; do for a in $actions; do left=$((left + 1)); done; done
end=$((SECONDS + seconds))
for k in $kinds; do
	for a in $actions; do
		n=$((n + 1)); d=$dir/$n; mkdir "$d"
		limit=()
		[ "$seconds" = 0 ] || { t=$(((end - SECONDS) / left)); limit=(-t $((t > 1 ? t : 1))); }
		left=$((left - 1))
		echo "# $k, $a"
		action=(-a "$a"); [ "$a" != all ] || action=()
		unshare -m -n -p -f --mount-proc --kill-child sh -c 'ip link set lo up && exec "$@"' sh \
			"$BUILD/kill/$driver" -k "$k" "${action[@]}" "${limit[@]}" "${rest[@]}" \
			"$BUILD/stasis" "$BUILD/kill/target" "$d"
		case $? in 0|77) rm -rf "$d";; *) rc=1;; esac
	done
done
exit $rc
