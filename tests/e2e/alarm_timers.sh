#!/bin/bash
# SPDX-License-Identifier: MIT
# A timer that wakes the machine up (CLOCK_BOOTTIME_ALARM) is restored with CAP_WAKE_ALARM on a machine with a real-time clock; else check
# and restore say by pid, timer and clock what is missing, and nothing is left.  The clock is put into the images of a timer of
# CLOCK_MONOTONIC, for few machines can make such a timer.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
event = ctypes.create_string_buffer(struct.pack("=Qii48x", 0, 10, 0))   # SIGEV_SIGNAL, SIGUSR1
number = ctypes.c_int(-1)
if libc.syscall(222, 1, event, ctypes.byref(number)): sys.exit("no timer")
value = ctypes.create_string_buffer(struct.pack("=qqqq", 0, 0, 5000, 0))
if libc.syscall(223, number, 0, value, None): sys.exit("not armed")
os.close(os.open(sys.argv[1] + "/ready", os.O_CREAT))
while not os.path.exists(sys.argv[1] + "/go"): time.sleep(0.02)
left = ctypes.create_string_buffer(32)
r = libc.syscall(224, number, left)
open(sys.argv[1] + "/result.new", "w").write("ok" if r == 0 and 4000 < struct.unpack("=qqqq", left.raw)[2] <= 5000 else "FAIL")
os.rename(sys.argv[1] + "/result.new", sys.argv[1] + "/result")
E2
setsid python3 "$DIR/prog.py" "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 20 test -e "$DIR/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
dump $pid || fail "dump"
wait_for 5 gone $pid; wait $pid 2>/dev/null
cp "$DIR/img/core-$pid.img" "$DIR/core"
# it_id 0, clock_id 1, si_signo 10
python3 - "$DIR/img/core-$pid.img" <<'E2' || fail "the timer is not found in the image"
import sys
data = open(sys.argv[1], "rb").read()
was, becomes = b"\x08\x00\x10\x01\x18\x0a", b"\x08\x00\x10\x09\x18\x0a"
if data.count(was) != 1: sys.exit(1)
open(sys.argv[1], "wb").write(data.replace(was, becomes))
E2
says() { # WORDS COMMAND…: fails, with these words
	local want=$1; shift
	! "$@" >"$DIR/says" 2>&1 || { cat "$DIR/says"; fail "it does not fail: $*"; }
	grep -q "pid $pid.*timer.*$want" "$DIR/says" || { cat "$DIR/says"; fail "'$want' is not said: $*"; }
	gone $pid || fail "a process is left by: $*"
}
without=(setpriv --bounding-set=-wake_alarm --inh-caps=-wake_alarm)
"${without[@]}" true 2>/dev/null || without=()
[ ${#without[@]} = 0 ] || says CAP_WAKE_ALARM "${without[@]}" "$STASIS" restore -d -D "$DIR/img"
if python3 -c 'import time; time.clock_getres(9)' 2>/dev/null; then
	restore || fail "restore"
else
	says "real-time clock" "$STASIS" check --images "$DIR/img"
	says "real-time clock" "$STASIS" restore -d -D "$DIR/img"
	cp "$DIR/core" "$DIR/img/core-$pid.img"
	restore || fail "restore"
fi
touch "$DIR/go"
result_ok
