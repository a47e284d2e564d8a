#!/bin/bash
# SPDX-License-Identifier: MIT
# What a program asked for on descriptors and nobody can read back is lost, never silently: notes about a directory, triggers of
# pressure files; the latter are replaced, so that who waits for one is not woken for ever.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import fcntl, os, select, signal, sys, time
os.chdir(sys.argv[1])
signal.signal(signal.SIGIO, signal.SIG_IGN)
d = os.open(".", os.O_RDONLY)
fcntl.fcntl(d, fcntl.F_NOTIFY, fcntl.DN_DELETE | fcntl.DN_MULTISHOT)
made = ["notes"]
try:
    p = os.open("/proc/pressure/memory", os.O_RDWR | os.O_NONBLOCK)
    os.write(p, b"some 200000 2000000\0")
    made.append("pressure")
except OSError: p = -1
open("made", "w").write(" ".join(made) + "\n"); os.rename("made", "ready")
while not os.path.exists("go"): time.sleep(0.02)
if p >= 0:
    poll = select.poll(); poll.register(p, select.POLLPRI)
    wrong = [e for e in poll.poll(0) if e[1] & select.POLLERR]
else: wrong = []
open("result.new", "w").write("FAIL the file is in error" if wrong else "ok"); os.rename("result.new", "result")
E2
setsid python3 "$DIR/prog.py" "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 20 test -e "$DIR/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
read -r made <"$DIR/ready"
dump $pid --display-stats >"$DIR/stats" || fail "dump"
wait $pid 2>/dev/null
grep -q 'lost.*F_NOTIFY' "$DIR/img/dump.log" || fail "nothing is said about the notes"
grep -q 'F_NOTIFY' "$DIR/stats" || fail "the statistics: $(cat "$DIR/stats")"
case $made in
*pressure*) grep -q 'lost.*trigger' "$DIR/img/dump.log" || fail "nothing is said about the trigger";;
esac
restore || fail "restore"
touch "$DIR/go"
result_ok
