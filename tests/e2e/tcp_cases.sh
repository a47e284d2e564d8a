#!/bin/bash
# SPDX-License-Identifier: MIT
# TCP connections: what is refused without options, and what the messages name; a port that is taken at restore, an address
# that is gone, --map-ip, a peer that died meanwhile, a connection that was being made.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
"$STASIS" plugins | grep -q '^ *inet\b' || fail "there is no plugin for TCP"
[ -n "${OWN_PTS:-}" ] && ip addr add 10.9.8.7/32 dev lo 2>/dev/null || skip "there is no network of the test's own"
cd "$DIR" || exit 1

# both ends of a connection in one process, or one of them; says what it sees when it is told to
cat >prog.py <<'END'
import os, socket, sys, time
kind, ip = sys.argv[1], sys.argv[2]
def ready(text):
    open("ready.new", "w").write(text)
    os.rename("ready.new", "ready")
    while not os.path.exists("go"):
        time.sleep(0.01)
def result(text):
    open("result.new", "w").write(text)
    os.rename("result.new", "result")
l = socket.socket() if kind == "connecting" else None
if kind == "connecting":
    l.setblocking(False)
    try:
        l.connect((ip, int(sys.argv[3])))
    except BlockingIOError:
        pass
    ready("%s:%d" % l.getsockname())
    l.setblocking(True)
    import select
    select.select([], [l], [], 20)
    try:
        l.send(b"hello")
        result("ok" if l.recv(10) == b"answer" else "another answer")
    except OSError as e:
        result(str(e))
elif kind == "waiting" or kind == "deferred":
    l = socket.socket()
    l.bind((ip, 0))
    if kind == "deferred":
        l.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
    l.listen(1)
    c = socket.create_connection(l.getsockname())
    ready("%s:%d" % l.getsockname())
    try:
        for i in range(3):
            c.send(b"x")
            time.sleep(0.1)
        result("sent")
    except OSError as e:
        result(type(e).__name__)
elif kind == "client":
    c = socket.create_connection((ip, int(sys.argv[3])))
    ready("%s:%d" % c.getsockname())
    try:
        while True:
            c.send(b"x")
            time.sleep(0.01)
    except OSError as e:
        result(type(e).__name__)
else:
    where = socket.getaddrinfo(ip, 0, 0, socket.SOCK_STREAM)[0]
    l = socket.socket(where[0])
    l.bind(where[4])
    l.listen(1)
    c = socket.socket(where[0])
    c.connect(l.getsockname())
    s = l.accept()[0]
    c.send(b"before")
    if kind == "half":
        s.shutdown(socket.SHUT_WR)
    ready("%s:%d" % l.getsockname())
    try:
        c.send(b" and after")
        time.sleep(0.2)
        if kind == "half" and c.recv(100) != b"":
            result("no end")
        result("%s %s %s" % (s.recv(100).decode(), s.getsockname()[0], s.getpeername()[0]))
    except OSError as e:
        result(type(e).__name__)
END
cat >server.py <<'END'
import os, socket, sys
l = socket.socket()
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind((sys.argv[1], int(sys.argv[2])))
l.listen(5)
open("server.new", "w").write(str(l.getsockname()[1]))
os.rename("server.new", "server")
c = [l.accept()[0] for i in range(1)]
c[0].recv(100)
c[0].send(b"answer")
while c[0].recv(100):
    pass
END
start() { # leaves pid and, of what it says, addr and port
	rm -f ready go result
	setsid python3 prog.py "$@" </dev/null >prog.out 2>&1 &
	pid=$!; track $pid
	wait_for 10 test -e ready || { cat prog.out; fail "the program ($*) does not start"; }
	addr=$(cat ready) port=${addr##*:}
}
finish() { touch go; wait_for 20 test -e result || { cat prog.out; fail "no result"; }; }
names() { # TEXT of the command that must fail, then words that its message must have
	local words=("${@:2}") w
	for w in "${words[@]}"; do grep -qF -e "$w" <<<"$1" || fail "'$w' is not in the message: $1"; done
}
# fails OPTION...: a command of stasis that must fail; its messages are left in $text
fails() { text=$("$STASIS" "$@" 2>&1) && fail "stasis $* does not fail"; return 0; }

say "- refused without options, and left running"
start pair 10.9.8.7
mkdir img
fails dump -t $pid -D img
names "$text" --tcp-established --tcp-close "$addr"
fails check --pid $pid
names "$text" --tcp-established --tcp-close "$addr"
"$STASIS" check --pid $pid --tcp-established >check.out 2>&1 || { cat check.out; fail "check finds something"; }
text=$(setpriv --bounding-set -net_admin --inh-caps -net_admin "$STASIS" dump -t $pid -D img --tcp-established 2>&1) &&
	fail "a dump without CAP_NET_ADMIN succeeds"
names "$text" CAP_NET_ADMIN "$addr"

say "- restored only when that is wanted; a port that is taken, an address that is gone"
dump $pid --tcp-established || fail "dump"
wait $pid 2>/dev/null
fails restore -d -D img
names "$text" --tcp-established --tcp-close "$addr"
ip addr del 10.9.8.7/32 dev lo
fails restore -d -D img --tcp-established
names "$text" "address 10.9.8.7:" --map-ip
fails restore -d -D img --tcp-established --map-ip 10.9.8.7
names "$text" OLD=NEW
fails restore -d -D img --tcp-established --map-ip 10.9.8.7=::1
names "$text" IPv6
ip addr add 10.9.8.7/32 dev lo
python3 -c 'import socket, sys, time; l = socket.socket(); l.bind(("10.9.8.7", int(sys.argv[1]))); l.listen(1)
open("taken", "w").close(); time.sleep(60)' "$port" &
holder=$!; track $holder
wait_for 10 test -e taken || fail "the port cannot be taken"
fails restore -d -D img --tcp-established
names "$text" "$addr" "pid $holder (python3)"
kill $holder; wait $holder 2>/dev/null

say "- --map-ip"
ip addr del 10.9.8.7/32 dev lo
ip addr add 10.9.8.8/32 dev lo
restore --tcp-established --map-ip 10.9.8.7=10.9.8.8 || fail "restore"
finish
[ "$(cat result)" = "before and after 10.9.8.8 10.9.8.8" ] || fail "$(cat result)"

say "- addresses of a link, half closed"
if ip link add link0 type dummy 2>/dev/null && ip link set link0 up && ip -6 addr add fe80::9:8:7/64 dev link0 nodad; then
	start half fe80::9:8:7%link0
	dump $pid --tcp-established || fail "dump"
	wait $pid 2>/dev/null
	restore --tcp-established || fail "restore"
	finish
	[ "$(cat result)" = "before and after fe80::9:8:7%link0 fe80::9:8:7%link0" ] || fail "$(cat result)"
fi

say "- --tcp-close goes before --tcp-established"
start pair 10.9.8.8
dump $pid --tcp-established --tcp-close || fail "dump"
wait $pid 2>/dev/null
restore --tcp-established --tcp-close || fail "restore"
finish
case $(cat result) in BrokenPipeError | OSError) ;; *) fail "$(cat result)";; esac

say "- a peer that dies while nobody is there"
rm -f server; python3 server.py 10.9.8.8 0 & server=$!; track $server
wait_for 10 test -e server
start client 10.9.8.8 "$(cat server)"
dump $pid --tcp-established || fail "dump"
wait $pid 2>/dev/null
kill -KILL $server; wait $server 2>/dev/null
restore --tcp-established || fail "restore"
finish
case $(cat result) in ConnectionResetError | BrokenPipeError) ;; *) fail "$(cat result)";; esac

for kind in waiting deferred; do
	say "- a connection that nobody has accepted: $kind"
	start $kind 10.9.8.8
	fails dump -t $pid -D img --tcp-established
	names "$text" --skip-in-flight "$addr"
	dump $pid --tcp-established --skip-in-flight || fail "dump"
	wait $pid 2>/dev/null
	restore --tcp-established || fail "restore"
	finish
	case $(cat result) in ConnectionResetError | BrokenPipeError) ;; *) fail "$(cat result)";; esac
done

say "- a connection that is being made"
rm -f server; python3 server.py 10.9.8.8 0 & server=$!; track $server
wait_for 10 test -e server
theirs=$(cat server)
kill -KILL $server; wait $server 2>/dev/null
ip route add 10.9.9.0/24 dev lo src 10.9.8.8 # from where nothing comes back
start connecting 10.9.9.9 "$theirs"
fails dump -t $pid -D img --tcp-established
names "$text" --skip-in-flight 10.9.9.9
dump $pid --tcp-established --skip-in-flight || fail "dump"
wait $pid 2>/dev/null
ip addr add 10.9.9.9/32 dev lo
rm -f server; python3 server.py 10.9.9.9 "$theirs" & server=$!; track $server
wait_for 10 test -e server
restore --tcp-established || fail "restore"
finish
[ "$(cat result)" = ok ] || fail "$(cat result)"
