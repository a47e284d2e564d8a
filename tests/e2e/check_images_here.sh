#!/bin/bash
# SPDX-License-Identifier: MIT
# check --images on a machine that is wrong in every way at once: a CPU that lacks an instruction, a kernel that lacks a call, a
# missing plugin, a pid that is taken, a number that is a process group's, a limit that is too low, files that are gone, shrunk or of
# another type, a port that is taken.  Each is said, in one answer; a restore fails and leaves nothing; mended, it works.
set -u
# pids are taken below: a pid namespace of its own
if [ -z "${OWN_PIDS:-}" ] && unshare -p -m -f --mount-proc true 2>/dev/null; then
	export OWN_PIDS=1
	exec unshare -p -m -f --mount-proc --propagation private --kill-child bash "$0"
fi
. tests/lib.sh
[ -n "${OWN_PIDS:-}" ] || skip "there is no pid namespace of its own"
[ -x /usr/bin/python3 ] || skip "python3 is not installed"
root=$PWD
mkdir "$DIR/work"
cat >"$DIR/prog.py" <<'END'
import ctypes, os, socket, sys, time
os.chdir(sys.argv[1])
keep = [open(n, "w+") for n in ("gone", "shrunk", "type")]
for f in keep: f.write("text of " + f.name); f.flush()
e = ctypes.CDLL(None).eventfd(3, 0)
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen(1)
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    while not os.path.exists("go"): time.sleep(0.02)
    os.write(w, b"x"); os._exit(0)
open("port", "w").write(str(l.getsockname()[1]))
time.sleep(0.2)
open("ready", "w").close()
while not os.path.exists("go"): time.sleep(0.02)
assert os.read(r, 1) == b"x" and os.read(e, 8)[0] == 3
for f in keep: f.seek(0); assert f.read() == "text of " + f.name
open("result", "w").write("ok")
END
setsid /usr/bin/python3 "$DIR/prog.py" "$DIR/work" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 10 test -e "$DIR/work/ready" || { cat "$DIR/out"; fail "it does not start"; }
child=$(cat /proc/$pid/task/$pid/children); child=${child% }
dump $pid --cpu-cap=ins || fail "dump"
wait_for 5 gone $pid; wait $pid 2>/dev/null
cd "$DIR/work" || exit 1
check() { "$@" "$STASIS" check --images "$DIR/img" >"$DIR/said" 2>&1; }
check env || { cat "$DIR/said"; fail "images that are good are called bad"; }

# everything goes wrong
cp "$DIR/img/cpuinfo.img" "$DIR/cpu"; for b in "1 31" "6 15" "18 2"; do (cd "$root" && python3 tests/e2e/odd/lift.py $b "$DIR/img/cpuinfo.img"); done
for f in gone shrunk type; do mv $f was.$f; done
: >shrunk; mkdir type
port=$(cat port)
taker='import socket, sys, time; s = socket.socket(); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(1); open("held", "w"); time.sleep(1000)'
echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid || skip "pids cannot be chosen"
/usr/bin/python3 -c "$taker" "$port" & holder=$!; track $holder
# a process group whose first member is gone has the child's number
echo $((child - 1)) >/proc/sys/kernel/ns_last_pid
setsid sh -c 'sleep 1000 & echo $! >member; exit' & wait $!
member=$(cat member); track "$member"
wait_for 10 test -e held
[ $holder = $pid ] && [ "$(ps -o pgid= -p "$member" | tr -d ' ')" = "$child" ] || skip "somebody else has the pids"
before=$(ls -la --time-style=full-iso)
lacking() { # what follows runs where clone3 is missing and few files can be open
	(ulimit -n 70; exec /usr/bin/python3 "$root/tests/e2e/odd/lacking.py" 435 -- "$@" --no-plugin eventfd)
}
lacking "$STASIS" check --images "$DIR/img" >"$DIR/said" 2>&1 && { cat "$DIR/said"; fail "it says that it can be restored"; }
for what in "this CPU (" "this kernel lacks clone3_set_tid" "the plugin eventfd" "pid $pid is taken by python3" "the number $child is in use by the process group of pid $member (sleep)" \
	"ulimit -n" "work/gone is missing" "work/shrunk has 0 bytes" "work/type is a directory and was a regular file" ":$port is taken by pid $pid"; do
	grep -qF -- "$what" "$DIR/said" || { cat "$DIR/said"; fail "'$what' is not said"; }
done
[ "$(ls -la --time-style=full-iso)" = "$before" ] || fail "the check changed something"
# one after the other is mended; until then a restore fails, says why, and leaves nothing
fails() { # TEXT
	"$STASIS" restore -d -D "$DIR/img" -o restore.log >"$DIR/said" 2>&1 && fail "it is restored in spite of: $1"
	grep -qF -- "$1" "$DIR/said" || { cat "$DIR/said"; fail "restore does not say '$1'"; }
	[ "$(ls -A)" = "$names" ] || { ls -A; fail "after '$1' other files are there"; }
	! grep -q prog.py /proc/[0-9]*/cmdline || fail "after '$1' a restored process lives"
}
names=$(ls -A)
lacking "$STASIS" restore -d -D "$DIR/img" >"$DIR/said" 2>&1 && fail "it is restored without a plugin"
fails "this CPU ("
cp "$DIR/cpu" "$DIR/img/cpuinfo.img"; fails "work/gone is missing"
mv was.gone gone; names=$(ls -A); fails "work/shrunk has 0 bytes"
mv was.shrunk shrunk; names=$(ls -A); fails "work/type is a directory"
rmdir type; mv was.type type; names=$(ls -A); fails ":$port is taken by pid $pid"
kill -KILL $holder; wait $holder 2>/dev/null
# an ordinary process that sleeps has the pid, not the port
echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid; sleep 1000 & holder=$!; track $holder
[ $holder = $pid ] || skip "somebody else has the pids"
fails "pid $pid is taken by sleep"
kill -KILL $holder; wait $holder 2>/dev/null
fails "the number $child is in use by the process group of pid $member (sleep)"
kill -KILL "$member"; wait_for 5 gone "$member"
# a zombie that nobody reaps: said after a while, with its parent
/usr/bin/python3 -c 'import os, sys, time
open("/proc/sys/kernel/ns_last_pid", "w").write(str(int(sys.argv[1]) - 1))
p = os.fork()
if p == 0: os._exit(0)
open("zombie", "w").write(str(p)); time.sleep(1000)' "$child" & holder=$!; track $holder
wait_for 10 test -s zombie
if [ "$(cat zombie)" = "$child" ]; then
	kill -STOP $holder; rm zombie; names=$(ls -A)
	if [ $holder != $pid ]; then # the pid of the root is free
		fails "pid $child is taken by a zombie (python3): its parent, pid $holder (python3), does not wait for it"
	fi
fi
kill -KILL $holder; wait $holder 2>/dev/null
check env || { cat "$DIR/said"; fail "mended, but still called bad"; }
restore || fail "restore"
touch go
wait_for 10 test -s result || { cat "$DIR/out"; fail "no result"; }
