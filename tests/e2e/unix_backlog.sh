#!/bin/bash
# SPDX-License-Identifier: MIT
# Data over a connection that is not accepted yet cannot be read: the dump is refused, and says what helps: --policy close on the client,
# which then finds its connection closed, while connections without data are kept.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import os, socket, sys, time
os.chdir(sys.argv[1])
l = socket.socket(socket.AF_UNIX); l.bind("\0" + os.getcwd() + "/l"); l.listen(5); l.setblocking(False)
def connect():
    s = socket.socket(socket.AF_UNIX); s.connect("\0" + os.getcwd() + "/l"); return s
quiet, sender = connect(), connect()
sender.send(b"request")
open("ready.new", "w").write("%d\n" % os.fstat(sender.fileno()).st_ino); os.rename("ready.new", "ready")
while not os.path.exists("go"): time.sleep(0.02)
def result(text):
    open("result.new", "w").write(text); os.rename("result.new", "result"); sys.exit(0)
try:
    a = l.accept()[0]; a.send(b"hello")
    if quiet.recv(10) != b"hello": result("FAIL: the first connection")
except OSError as e: result("FAIL: the first connection: %s" % e)
try: l.accept(); result("FAIL: another connection waits")
except BlockingIOError: pass
try:
    if sender.recv(10): result("FAIL: somebody answers")
except ConnectionError: pass
try: sender.send(b"more"); result("FAIL: the connection is not closed")
except OSError: result("ok")
E2
setsid python3 "$DIR/prog.py" "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 20 test -e "$DIR/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
read -r ino <"$DIR/ready"
dump $pid && fail "it was dumped with data that cannot be read"
alive $pid || fail "the program is gone"
grep -q "not accepted yet.*--policy 'unix\[$ino\]=close'" "$DIR/img/dump.log" || fail "the reason: $(grep Error "$DIR/img/dump.log")"
dump $pid --policy "unix[$ino]=close" || fail "dump"
wait $pid 2>/dev/null
restore || fail "restore"
touch "$DIR/go"
result_ok
