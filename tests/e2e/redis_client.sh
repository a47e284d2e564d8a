#!/bin/bash
# SPDX-License-Identifier: MIT
# redis-server with a client that stays connected over TCP and is not dumped: it writes in pipelines all the time.  Every
# answer is the one that belongs to the question, none is missing, and at the end the server has what was written.
set -u
. tests/lib.sh
command -v redis-server >/dev/null && command -v redis-cli >/dev/null || skip "redis is not installed"
command -v python3 >/dev/null || skip "python3 is not installed"
"$STASIS" plugins | grep -q '^ *inet\b' || fail "there is no plugin for TCP"
cd "$DIR" || exit 1
cat >client.py <<'END'
import os, socket, sys
port, done = int(sys.argv[1]), sys.argv[2]
s = socket.create_connection(("127.0.0.1", port))
f = s.makefile("rb")
n = 0
def line():
    l = f.readline()
    if not l.endswith(b"\r\n"):
        sys.exit("the connection ended after %d commands" % n)
    return l[:-2]
while not os.path.exists(done) or n < 2000:
    batch = b"".join(b"INCR counter\r\nSET key:%d value-%d-%s\r\nGET key:%d\r\n" % (i, i, b"x" * (i % 500), i)
                     for i in range(n, n + 100))
    s.sendall(batch)
    for i in range(n, n + 100):
        if line() != b":%d" % (i + 1) or line() != b"+OK":
            sys.exit("a wrong answer to command %d" % i)
        want = b"value-%d-%s" % (i, b"x" * (i % 500))
        if line() != b"$%d" % len(want) or line() != want:
            sys.exit("a wrong value of key %d" % i)
    n += 100
    open("progress.new", "w").write(str(n))
    os.rename("progress.new", "progress")
print(n)
END
# a port that is free: the kernel's choice of a moment ago
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cli() { redis-cli -p "$port" "$@"; }
setsid redis-server --port "$port" --bind 127.0.0.1 --dir "$DIR" --save "" --daemonize no --logfile "$DIR/log" </dev/null >out 2>&1 &
pid=$!; track $pid
answers() { [ "$(cli ping)" = PONG ]; }
wait_for 10 answers || { cat log; fail "it does not start"; }
setsid python3 client.py "$port" "$DIR/stop" </dev/null >client.out 2>client.err &
client=$!; track $client
progress() { cat progress 2>/dev/null || echo 0; }
beyond() { [ "$(progress)" -gt "$1" ]; }
for ((round = 1; round <= ${ROUNDS:-5}; round++)); do
	was=$(progress)
	wait_for 10 beyond "$was" || { cat client.err; fail "round $round: the client gets no answers"; }
	sleep 0.0$((RANDOM % 10))
	dump "$pid" --tcp-established --skip-in-flight || fail "dump, round $round"
	wait_for 5 gone "$pid"; wait "$pid" 2>/dev/null
	sleep 0.$((RANDOM % 3))
	restore --tcp-established || fail "restore, round $round"
	pid=$RESTORED
	alive $client || { cat client.err; fail "round $round: the client has ended"; }
done
touch stop
wait $client || { cat client.err; fail "the client failed"; }
n=$(tail -1 client.out)
[ "$(cli GET counter)" = "$n" ] || fail "the server counted $(cli GET counter), the client $n"
[ "$(cli DBSIZE)" = $((n + 1)) ] || fail "the server has $(cli DBSIZE) keys, not $((n + 1))"
cli SHUTDOWN NOSAVE 2>/dev/null
wait_for 5 gone "$pid" || fail "it does not end"
say "$n commands in $((round - 1)) rounds"
