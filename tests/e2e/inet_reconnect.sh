#!/bin/bash
# SPDX-License-Identifier: MIT
# --policy inet=reconnect: clients of a server outside of the tree (IPv4, IPv6, blocking or not) are connected anew at restore; the restore
# fails with the address while the server is not there. What the tree has accepted is refused by name.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
[ -n "${OWN_PTS:-}" ] && ip addr show lo 2>/dev/null | grep -q 'inet6 ::1' || skip "no network of the test's own with IPv6"
cat >"$DIR/server.py" <<'E2'
import os, select, socket, sys
os.chdir(sys.argv[1])
def listen(family, address, port):
    s = socket.socket(family); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((address, port)); s.listen(5); return s
ls = [listen(socket.AF_INET, "127.0.0.1", 7001), listen(socket.AF_INET6, "::1", 7002)]
open("listening", "w").close()
cs = []
while True:
    for s in select.select(ls + cs, [], [])[0]:
        if s in ls: cs.append(s.accept()[0]); continue
        try: data = s.recv(100)
        except OSError: data = b""
        if not data: cs.remove(s); s.close(); continue
        s.send(b"answer to " + data)
E2
cat >"$DIR/client.py" <<'E2'
import fcntl, os, select, socket, sys, time
os.chdir(sys.argv[1])
def connect(family, address, port):
    s = socket.socket(family); s.connect((address, port)); return s
cs = [connect(socket.AF_INET, "127.0.0.1", 7001), connect(socket.AF_INET6, "::1", 7002), connect(socket.AF_INET, "127.0.0.1", 7001)]
cs[1].setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
cs[2].setblocking(False)
def ask(text):
    for c in cs:
        c.send(text)
        if not select.select([c], [], [], 60)[0] or c.recv(100) != b"answer to " + text: return "no answer"
        if c.getpeername()[1] not in (7001, 7002): return "another peer"
    return "ok"
ok = ask(b"first")
held = None
if sys.argv[2] == "accepts":
    l = socket.socket(); l.bind(("127.0.0.1", 7003)); l.listen(5)
    open("accepts", "w").close()
    held = l.accept()[0]
open("ready", "w").close()
while not os.path.exists("go"): time.sleep(0.02)
if ok == "ok":
    try: ok = ask(b"second")
    except OSError as e: ok = str(e)
if ok == "ok" and (cs[2].getblocking() or not cs[0].getblocking() or not fcntl.fcntl(cs[2], fcntl.F_GETFL) & os.O_NONBLOCK): ok = "O_NONBLOCK"
if ok == "ok" and not cs[1].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE): ok = "SO_KEEPALIVE"
open("result.new", "w").write("ok" if ok == "ok" else "FAIL %s" % ok); os.rename("result.new", "result")
E2
serve() {
	rm -f "$DIR/listening"
	python3 "$DIR/server.py" "$DIR" </dev/null >"$DIR/server.out" 2>&1 &
	server=$!; track $server
	wait_for 60 test -e "$DIR/listening" || { cat "$DIR/server.out"; fail "the server does not start"; }
}
start() { # plain or accepts
	rm -f "$DIR/ready" "$DIR/accepts"
	setsid python3 "$DIR/client.py" "$DIR" "$1" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	if [ "$1" = accepts ]; then
		wait_for 60 test -e "$DIR/accepts" || { cat "$DIR/out"; fail "the client does not listen"; }
		exec 9<>/dev/tcp/127.0.0.1/7003
	fi
	wait_for 60 test -e "$DIR/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
}
serve
start accepts
dump $pid --policy inet=reconnect && fail "a connection that was accepted was given up"
grep -q "127.0.0.1:7003 .*it was accepted" "$DIR/img/dump.log" || fail "the reason: $(grep Error "$DIR/img/dump.log")"
exec 9>&-
kill -KILL $pid; wait $pid 2>/dev/null
start plain
dump $pid && fail "dumped without the policy"
dump $pid --policy inet=reconnect --display-stats >"$DIR/stats" || fail "dump"
grep -q 'State lost: 3' "$DIR/stats" || fail "statistics: $(cat "$DIR/stats")"
wait $pid 2>/dev/null
kill $server; wait $server 2>/dev/null
restore >"$DIR/said" 2>&1 && fail "restored without the server"
grep -q "connecting to .*:700[12] again: Connection refused" "$DIR/said" || fail "the server is not named: $(cat "$DIR/said")"
serve
restore || fail "restore"
touch "$DIR/go"
result_ok
