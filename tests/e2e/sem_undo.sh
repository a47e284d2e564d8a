#!/bin/bash
# SPDX-License-Identifier: MIT
# What two processes have to give back of System V semaphores is told to be lost; that they have threads is not enough.
set -u
# an IPC namespace of our own: nobody else has semaphores there
[ -n "${OWN_IPC:-}" ] || OWN_IPC=1 exec unshare -i bash "$0"
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import ctypes, os, struct, sys, threading, time
os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
SEM_UNDO, IPC_PRIVATE = 0x1000, 0
id = libc.semget(IPC_PRIVATE, 1, 0o600) if len(sys.argv) > 2 else -1
def run():
    threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()
    if id >= 0 and libc.semop(id, struct.pack("HhH", 0, 1, SEM_UNDO), 1):
        sys.exit("semop")
if os.fork() == 0:
    run(); open("child", "w").close(); time.sleep(1000)
run()
while not os.path.exists("child"): time.sleep(0.02)
open("ready", "w").close()
while not os.path.exists("go"): time.sleep(0.02)
open("result.new", "w").write("ok"); os.rename("result.new", "result")
E2
start() {
	rm -f "$DIR"/{child,ready,go,result}
	setsid python3 "$DIR/prog.py" "$DIR" "$@" </dev/null >"$DIR/out" 2>&1 & pid=$!; track $pid
	wait_for 60 test -e "$DIR/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
}
start
dump $pid --leave-running --policy 'lost[sysvsem]=fail' || fail "two processes with threads are said to lose something"
dump $pid --policy 'lost[sysvsem]=fail' || fail "the same, killed"
wait $pid 2>/dev/null
restore || fail "restore"
touch "$DIR/go"; result_ok

start semaphore
dump $pid --policy 'lost[sysvsem]=fail' && fail "what both have to give back is not missed"
grep -q "pid $pid: what it has to give back of System V semaphores" "$DIR/img/dump.log" || fail "$(grep Error "$DIR/img/dump.log")"
alive $pid || fail "the tree is gone"
dump $pid || fail "dump without the policy"
