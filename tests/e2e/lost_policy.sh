#!/bin/bash
# SPDX-License-Identifier: MIT
# --policy lost=fail: what would be lost, of whatever kind of state, is refused by name at dump and restore; the tree and the
# images stay, and without the policy it works. lost[PLUGIN] is about one plugin.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import fcntl, os, signal, sys, time
os.chdir(sys.argv[1])
signal.signal(signal.SIGIO, signal.SIG_IGN)
d = os.open(".", os.O_RDONLY)
fcntl.fcntl(d, fcntl.F_NOTIFY, fcntl.DN_DELETE | fcntl.DN_MULTISHOT)
r, w = os.pipe()
open("fd", "w").write("%d\n" % w); os.rename("fd", "ready")
while not os.path.exists("go"): time.sleep(0.02)
open("result.new", "w").write("ok"); os.rename("result.new", "result")
E2
setsid python3 "$DIR/prog.py" "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 60 test -e "$DIR/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
read -r fd <"$DIR/ready"
refused() { # what [OPTION…]
	dump $pid "${@:2}" && fail "$1: dumped"
	grep -q 'would be lost: signals about changes' "$DIR/img/dump.log" || fail "$1: $(grep Error "$DIR/img/dump.log")"
	alive $pid || fail "$1: the program is gone"
}
refused "all losses" --policy lost=fail
refused "those of files" --policy 'lost[files]=fail'
for bad in lost=close 'lost[nobody]=fail'; do
	dump $pid --policy "$bad" && fail "--policy $bad was taken"
done
dump $pid --policy 'lost[unix]=fail' || fail "dump"
wait $pid 2>/dev/null
restore --policy "fd[$pid:$fd]=close" --policy lost=fail >"$DIR/said" 2>&1 && fail "restored with a loss"
grep -q 'would be lost, and --policy lost=fail forbids' "$DIR/said" || fail "the reason: $(cat "$DIR/said")"
restore --policy lost=fail || fail "restore"
touch "$DIR/go"
result_ok
