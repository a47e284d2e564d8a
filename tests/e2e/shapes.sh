#!/bin/bash
# SPDX-License-Identifier: MIT
# Threads that share less with their process than threads do, and a process whose leading thread has ended, are refused by name,
# by the dump and by check --pid, and run on.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import ctypes, os, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
flags = {"fs": 0x200, "files": 0x400, "net": 0x40000000, "uts": 0x04000000}
os.chdir(sys.argv[1])
def apart(kind):
    if libc.unshare(flags[kind]):
        open("skip", "w").close()
    ready.release()
    while True:
        time.sleep(1)
def beat():
    n = 0
    while True:
        n += 1
        with open("beat.new", "w") as f:
            f.write("%d\n" % n)
        os.rename("beat.new", "beat")
        time.sleep(0.01)
ready = threading.Semaphore(0)
threading.Thread(target=beat).start()
if sys.argv[2] == "leader":
    open("ready", "w").close()
    libc.syscall(60, 0)                           # exit(2): only this thread
threading.Thread(target=apart, args=(sys.argv[2],)).start()
ready.acquire()
open("ready", "w").close()
time.sleep(1000)
E2
PYTHON=$(python3 -c 'import sys; print(sys.executable)')

refused() { # KIND TEXT
	local work=$DIR/$1
	mkdir "$work"
	setsid "$PYTHON" "$DIR/prog.py" "$work" "$1" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 20 test -e "$work/ready" || { cat "$DIR/out"; fail "$1: not ready"; }
	[ ! -e "$work/skip" ] || { say "$1: cannot be made here"; return; }
	[ "$1" != leader ] || wait_for 5 grep -q 'State:.*Z' /proc/$pid/status || fail "leader: it does not end"
	dump $pid >"$DIR/err" 2>&1 && fail "$1: the dump is accepted"
	grep -qF "$2" "$DIR/err" || { cat "$DIR/err"; fail "$1: the dump does not say '$2'"; }
	"$STASIS" check --pid $pid >"$DIR/err" 2>&1 && fail "$1: check --pid sees nothing"
	grep -qF "$2" "$DIR/err" || { cat "$DIR/err"; fail "$1: check --pid does not say '$2'"; }
	was=$(cat "$work/beat")
	wait_for 5 eval '[ "$(cat "$work/beat")" -gt $((was + 5)) ]' || fail "$1: it does not run on"
}
refused fs "working directory of its own"
refused files "descriptors of its own"
refused net "net namespace of its own"
refused uts "uts namespace of its own"
refused leader "other threads live on"
# directories that a dump has made go with it
"$STASIS" dump -t $pid -D "$DIR/new" -W "$DIR/newer" >"$DIR/err" 2>&1 && fail "leader: the second dump is accepted"
[ ! -e "$DIR/new" ] && [ ! -e "$DIR/newer" ] || fail "a dump that fails leaves directories: $(ls -R "$DIR/new" "$DIR/newer")"
