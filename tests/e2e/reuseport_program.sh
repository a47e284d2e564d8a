#!/bin/bash
# SPDX-License-Identifier: MIT
# A program for SO_REUSEPORT cannot be read: where sockets share a port it is said to be lost, where one is alone nothing is.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import ctypes, os, socket, struct, sys, time
dir, n = sys.argv[1], int(sys.argv[2])
ss = []
for i in range(n):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, 15, 1)
    s.bind(("127.0.0.1", ss[0].getsockname()[1] if ss else 0)); ss.append(s)
# all that comes goes to the second socket: ret #1
code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 1), 8)
if n > 1: ss[0].setsockopt(socket.SOL_SOCKET, 51, struct.pack("HxxxxxxQ", 1, ctypes.addressof(code)))
open(dir + "/ready", "w").close()
while not os.path.exists(dir + "/go"): time.sleep(0.02)
open(dir + "/result.new", "w").write("ok"); os.rename(dir + "/result.new", dir + "/result")
E2
run() { # NUMBER
	rm -f "$DIR"/{ready,go,result}
	setsid python3 "$DIR/prog.py" "$DIR" "$1" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 60 test -e "$DIR/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
	dump $pid --display-stats >"$DIR/stats" || fail "dump"
	wait $pid 2>/dev/null
	restore || fail "restore"
	touch "$DIR/go"
	wait_for 60 test -e "$DIR/result" || fail "no result"
}
run 2
[ "$(grep -c 'SO_ATTACH_REUSEPORT' "$DIR/stats")" = 1 ] || fail "nothing is said about the program: $(cat "$DIR/stats")"
run 1
grep -q 'SO_ATTACH_REUSEPORT' "$DIR/stats" && fail "a socket that is alone is said to have a program"
result_ok
