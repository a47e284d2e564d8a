#!/bin/bash
# SPDX-License-Identifier: MIT
# A local descriptor table (modify_ldt) is refused by name, and the program runs on.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import ctypes, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
entry = struct.pack("IIII", 3, 0x10000, 0xfff, 0x51)  # number, base, limit; 32 bits, in pages, usable
r = libc.syscall(154, 0x11, entry, len(entry))
open(sys.argv[1] + "/ready", "w").write(str(r))
while True:
    time.sleep(0.1)
E2
setsid python3 "$DIR/prog.py" "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 20 test -s "$DIR/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
[ "$(cat "$DIR/ready")" = 0 ] || skip "this kernel has no modify_ldt"
mkdir "$DIR/img"
"$STASIS" dump -t $pid -D "$DIR/img" >"$DIR/msg" 2>&1 && fail "it was dumped"
grep -q 'pid.*local descriptor table (modify_ldt)' "$DIR/msg" || { cat "$DIR/msg"; fail "the reason is not named"; }
alive $pid || fail "the program died of a dump that was refused"
