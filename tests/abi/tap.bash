# SPDX-License-Identifier: MIT
# tap.bash: sourced by the scripts of this directory.  Each prints "ok - text" or "not ok - text" a check and ends with
# finish.  BUILD: build directory (default build); DIR: an empty directory (default: one of its own).
set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$ROOT" || exit 1
BUILD=$(realpath -m "${BUILD:-build}")
if [ -z "${DIR:-}" ]; then
	DIR=$(mktemp -d /tmp/stasis-abi.XXXXXX); trap 'rm -rf "$DIR"' EXIT
fi
chmod 755 "$DIR"
STASIS=${STASIS:-$BUILD/stasis}
checks=0 bad=0

skip() { echo "SKIP: $*"; exit 77; }
# check TEXT COMMAND…: passes when the command does; its output is shown when it does not
check() {
	local text=$1 out; shift
	checks=$((checks + 1))
	if out=$("$@" 2>&1); then
		echo "ok - $text"
	else
		echo "not ok - $text"; bad=$((bad + 1)); printf '%s\n' "$out" | sed 's/^/# /'
	fi
}
finish() {
	[ $checks -gt 0 ] || skip "nothing to check"
	[ $bad = 0 ]; exit
}
