#!/bin/bash
# SPDX-License-Identifier: MIT
# run.sh BUILD COUNT SEED: mutate.py in namespaces where it can do no harm: file systems are read-only but for its own /tmp, /run,
# /dev/shm, and BUILD/hostile, where it keeps what it finds.
build=$(realpath "$1")
cd "$(dirname "$0")/../.." || exit 1
mkdir -p "$build/hostile"
exec unshare -p -m -n -f --mount-proc --propagation private --kill-child bash -c '
	mount -t tmpfs tmpfs /run && mkdir /run/build /run/source /run/stasis &&
	mount --bind "$1" /run/build && mount --bind "$PWD" /run/source && cd /run/source || exit 1
	for d in /tmp /dev/shm /var/tmp; do mount -t tmpfs tmpfs $d || exit 1; done
	mount -o remount,ro,bind / && mount -o remount,ro,bind /run/source && ip link set lo up &&
	exec python3 tests/hostile/mutate.py /run/build "$2" "$3"' bash "$build" "$2" "$3"
