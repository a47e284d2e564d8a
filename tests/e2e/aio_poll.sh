#!/bin/bash
# SPDX-License-Identifier: MIT
# A poll of asynchronous I/O that waits cannot be seen. Of a program that makes polls it is said that they may be lost, and of no other.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
dir, op = sys.argv[1], int(sys.argv[2])
r, w = os.pipe(); os.write(w, b"x")
file = os.open(dir + "/data", os.O_RDWR | os.O_CREAT); os.write(file, b"0123456789")
buf = ctypes.create_string_buffer(16)
ctx = ctypes.c_ulong(0)
if libc.syscall(206, 8, ctypes.byref(ctx)) < 0: open(dir + "/made", "w").write("skip\n")
else:
    # op 5: poll of the pipe for POLLIN; 0: read of the file
    iocb = ctypes.create_string_buffer(struct.pack("QIIHhIQQqQII", 0, 0, 0, op, 0, r if op == 5 else file, 1 if op == 5 else ctypes.addressof(buf), 0 if op == 5 else 4, 0, 0, 0, 0))
    ptr = ctypes.c_void_p(ctypes.addressof(iocb)); events = ctypes.create_string_buffer(32)
    n = libc.syscall(209, ctx, ctypes.c_long(1), ctypes.byref(ptr))
    got = libc.syscall(208, ctx, ctypes.c_long(1), ctypes.c_long(1), events, None) if n == 1 else 0
    open(dir + "/made", "w").write("ok\n" if got == 1 else "skip\n")
os.rename(dir + "/made", dir + "/ready")
while not os.path.exists(dir + "/go"): time.sleep(0.02)
open(dir + "/result.new", "w").write("ok"); os.rename(dir + "/result.new", dir + "/result")
E2
run() { # OPCODE
	rm -f "$DIR"/{ready,go,result}
	setsid python3 "$DIR/prog.py" "$DIR" "$1" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 60 test -e "$DIR/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
	read -r made <"$DIR/ready"
	[ "$made" = ok ] || skip "this kernel does no such request"
	dump $pid --display-stats >"$DIR/stats" || fail "dump"
	wait $pid 2>/dev/null
	restore || fail "restore"
	touch "$DIR/go"
	wait_for 60 test -e "$DIR/result" || fail "no result"
}
run 5
grep -q 'IOCB_CMD_POLL' "$DIR/stats" || fail "nothing is said about polls: $(cat "$DIR/stats")"
run 0
grep -q 'IOCB_CMD_POLL' "$DIR/stats" && fail "a program that only reads is said to poll"
result_ok
