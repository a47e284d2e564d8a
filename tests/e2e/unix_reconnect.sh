#!/bin/bash
# SPDX-License-Identifier: MIT
# --policy unix=reconnect: a client of a server outside of the tree (stream, seqpacket, abstract name; syslog by datagrams) is connected
# anew at restore; the restore fails with the name while the server is not there.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/server.py" <<'E2'
import os, select, socket, sys
os.chdir(sys.argv[1])
def listen(kind, name):
    s = socket.socket(socket.AF_UNIX, kind); s.bind(name); s.listen(5); return s
for n in ("s", "p", "log"):
    if os.path.exists(n): os.unlink(n)
where = os.getcwd()
ls = [listen(socket.SOCK_STREAM, where + "/s"), listen(socket.SOCK_SEQPACKET, where + "/p"), listen(socket.SOCK_STREAM, "\0" + where + "/a")]
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); log.bind(where + "/log")
open("listening", "w").close()
cs = []
while True:
    for s in select.select(ls + cs + [log], [], [])[0]:
        if s in ls: cs.append(s.accept()[0]); continue
        data = s.recv(100)
        if s is log: open("logged", "ab").write(data + b"\n"); continue
        if not data: cs.remove(s); s.close(); continue
        s.send(b"answer to " + data)
E2
cat >"$DIR/client.py" <<'E2'
import os, socket, sys, time
os.chdir(sys.argv[1]); where = os.getcwd()
def connect(kind, name):
    s = socket.socket(socket.AF_UNIX, kind); s.connect(name); return s
names = [(socket.SOCK_STREAM, where + "/s"), (socket.SOCK_SEQPACKET, where + "/p"), (socket.SOCK_STREAM, "\0" + where + "/a")]
cs = [connect(*n) for n in names]
log = connect(socket.SOCK_DGRAM, where + "/log")
def ask(text):
    for c in cs:
        c.send(text)
        if c.recv(100) != b"answer to " + text: return False
    log.send(text)
    return True
ok = ask(b"first")
open("ready", "w").close()
while not os.path.exists("go"): time.sleep(0.02)
try: ok = ok and ask(b"second")
except OSError as e: ok = e
open("result.new", "w").write("ok" if ok is True else "FAIL %s" % ok); os.rename("result.new", "result")
E2
serve() {
	rm -f "$DIR/listening"
	python3 "$DIR/server.py" "$DIR" </dev/null >"$DIR/server.out" 2>&1 &
	server=$!; track $server
	wait_for 20 test -e "$DIR/listening" || { cat "$DIR/server.out"; fail "the server does not start"; }
}
serve
setsid python3 "$DIR/client.py" "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 20 test -e "$DIR/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
dump $pid --policy unix=reconnect --display-stats >"$DIR/stats" || fail "dump"
grep -q 'State lost: 3' "$DIR/stats" || fail "statistics: $(cat "$DIR/stats")"
wait $pid 2>/dev/null
kill $server; wait $server 2>/dev/null
restore >"$DIR/said" 2>&1 && fail "restored without the server"
grep -q "$DIR/[sp].*is not there: start the program" "$DIR/said" || fail "the server is not named: $(cat "$DIR/said")"
serve
restore || fail "restore"
touch "$DIR/go"
result_ok
wait_for 5 grep -q second "$DIR/logged" || fail "the log has not got it: $(cat "$DIR/logged")"
