#!/bin/bash
# SPDX-License-Identifier: MIT
# run.sh [OPTION…]: the sweep of sweep.c in namespaces of its own, once for dumps and once for restores.
# BUILD: build directory; options are those of sweep.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
dir=$(mktemp -d /tmp/stasis-kill.XXXXXX)
trap 'rm -rf "$dir"' EXIT
rc=0
for what in "" -r; do
	echo "# $([ -z "$what" ] && echo dump || echo restore)"
	mkdir -p "$dir/d$what"
	unshare -m -p -f --mount-proc --kill-child "$BUILD/kill/sweep" $what "$@" "$BUILD/stasis" "$BUILD/kill/target" "$dir/d$what" || rc=1
done
exit $rc
