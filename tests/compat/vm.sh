#!/bin/bash
# SPDX-License-Identifier: MIT
# vm.sh KERNEL COMMAND…: runs a test command of this tree inside a virtual machine with another kernel.
# The guest gets the built engine, plugins, programs and the test scripts as two archives, unpacks them to its own disk and
# runs COMMAND in a copy of the tree with BUILD set (for instance: tests/run 'prog/core/*@host').
#   BUILD   build directory (default build)
#   VMRUN   the program that boots: VMRUN KERNEL 'SHELL TEXT' with SHARE=DIRECTORY seen under the same path in the
#           guest; its output and exit status are those of the text (default vm-run)
# The guest needs what the engine needs: bash, libprotobuf-c1; for the exchange of images also criu.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}") VMRUN=${VMRUN:-vm-run}
[ $# -ge 2 ] || { sed -n 3,9p "$0"; exit 2; }
kernel=$1; shift
skip() { echo "1..0 # SKIP $*"; exit 77; }
command -v "$VMRUN" >/dev/null || skip "no $VMRUN: name the program that boots a kernel with VMRUN"
command -v qemu-system-x86_64 >/dev/null || skip "no qemu-system-x86_64"
[ -x "$BUILD/stasis" ] || { echo "build first: no $BUILD/stasis"; exit 1; }
share=$(mktemp -d /var/tmp/stasis-vm.XXXXXX)
trap 'rm -rf "$share"' EXIT

(cd "$BUILD" && find stasis criu plugins programs kill \( -type f -perm -u+x -o -type l -o -name '*.so' \) 2>/dev/null |
	tar -cf "$share/build.tar" -T -) || exit 1
tar -cf "$share/tree.tar" tests tools plugins/*/test || exit 1
printf -v command '%q ' "$@"
out=$(mktemp "$share/out.XXXX")
# the run's first lines tell whether the guest came up at all
SHARE=$share TIMEOUT=${VM_TIMEOUT:-3000} "$VMRUN" "$kernel" "
	mkdir -p /root/tree/build && cd /root/tree && tar -xf $share/tree.tar && tar -C build -xf $share/build.tar || exit 1
	export BUILD=/root/tree/build SHARED='$share' TEST_TIMEOUT=${TEST_TIMEOUT:-600} TEST_PATIENCE=${TEST_PATIENCE:-3} ${VM_ENV:-}
	echo \"# Linux \$(uname -r)\"
	$command" | tee "$out"
rc=${PIPESTATUS[0]}
grep -q '^no kernel' "$out" && skip "no kernel $kernel for $VMRUN"
exit "$rc"
