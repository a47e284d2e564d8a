#!/bin/bash
# SPDX-License-Identifier: MIT
# check --images with sockets of the network: ports that are taken and by whom, an address that is gone, connections that exist
# or that nobody asked for; the check leaves the network as it was, and what it calls good can be restored.
set -u
. tests/lib.sh
[ -x /usr/bin/python3 ] || skip "python3 is not installed"
"$STASIS" plugins | grep -q '^ *inet\b' || fail "there is no plugin for TCP"
[ -n "${OWN_PTS:-}" ] && ip addr add 10.9.8.7/32 dev lo 2>/dev/null || skip "there is no network of the test's own"
cd "$DIR" || exit 1
cat >prog.py <<'EOF2'
import os, socket, time
at = ("10.9.8.7", 0)
l = socket.socket(); l.bind(at); l.listen(1)
c = socket.create_connection(l.getsockname()); s = l.accept()[0]
half = socket.create_connection(l.getsockname()); other = l.accept()[0]; half.shutdown(socket.SHUT_WR)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(at)
shared = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); shared.bind(at)
open("ready.new", "w").write("%d %d %d" % (l.getsockname()[1], u.getsockname()[1], shared.getsockname()[1])); os.rename("ready.new", "ready")
while not os.path.exists("go"): time.sleep(0.02)
c.send(b"hello")
open("result.new", "w").write("ok" if s.recv(10) == b"hello" and other.recv(10) == b"" else "another answer"); os.rename("result.new", "result")
time.sleep(1000)
EOF2
# hold PROTOCOL PORT OPTION: a process that has the port
hold() {
	rm -f held
	/usr/bin/python3 -c 'import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if sys.argv[1] == "tcp" else socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(sys.argv[3])); s.bind(("10.9.8.7", int(sys.argv[2])))
sys.argv[1] == "tcp" and s.listen(1)
open("held", "w").close(); time.sleep(1000)' "$1" "$2" "$3" &
	holder=$!; track $holder
	wait_for 10 test -e held || fail "$1 port $2 cannot be taken"
}
network() { ip addr; cat /proc/net/{tcp,udp,raw} | cut -c1-40; ! command -v nft >/dev/null || nft list ruleset; }
check() { network >before; "$STASIS" check --images img "$@" >said 2>&1; rc=$?; network >after; cmp -s before after || { diff before after; fail "the check changed the network"; }; return $rc; }
good() { check "$@" || { cat said; fail "images that are good are called bad ($*)"; }; grep -q "can be restored here" said || { cat said; fail "it does not say so"; }; }
bad() { # TEXT…, then options of check behind --
	local words=()
	while [ "$1" != -- ]; do words+=("$1"); shift; done; shift
	check "$@" && { cat said; fail "it says that it can be restored ($*)"; }
	local w
	for w in "${words[@]}"; do grep -qF -- "$w" said || { cat said; fail "'$w' is not said"; }; done
}

setsid /usr/bin/python3 prog.py </dev/null >out 2>&1 &
pid=$!; track $pid
wait_for 10 test -e ready || { cat out; fail "it does not start"; }
read -r tcp udp shared <ready
dump $pid --tcp-established || fail "dump"
wait_for 5 gone $pid; wait $pid 2>/dev/null

good --tcp-established
good --tcp-close
bad "the TCP connection 10.9.8.7:$tcp ->" --tcp-established --tcp-close --
hold tcp "$tcp" 0; first=$holder
hold udp "$udp" 0
bad "TCP address 10.9.8.7:$tcp is taken by pid $first (python3)" "UDP address 10.9.8.7:$udp is taken by pid $holder (python3)" -- --tcp-established
kill $first $holder; wait $first $holder 2>/dev/null
hold udp "$shared" 1 # who wants to share may
good --tcp-established
kill $holder; wait $holder 2>/dev/null
setpriv --bounding-set -net_raw --inh-caps -net_raw "$STASIS" check --images img --tcp-established >said 2>&1 && fail "CAP_NET_RAW is not missed"
grep -q "half closed.*CAP_NET_RAW" said || { cat said; fail "CAP_NET_RAW is not named"; }
ip addr del 10.9.8.7/32 dev lo
bad "address 10.9.8.7:$tcp does not exist" "address 10.9.8.7:$udp does not exist" --map-ip -- --tcp-established
ip addr add 10.9.8.8/32 dev lo
good --tcp-established --map-ip 10.9.8.7=10.9.8.8
ip addr add 10.9.8.7/32 dev lo
restore --tcp-established || fail "restore"
bad "the TCP connection 10.9.8.7:$tcp ->" "exists already, held by pid $RESTORED" -- --tcp-established
touch go
wait_for 10 test -s result || { cat out; fail "no result"; }
[ "$(cat result)" = ok ] || fail "$(cat result)"
