#!/bin/bash
# SPDX-License-Identifier: MIT
# The network lock (stasis-inet(7)): packet filter rules are the same after as before, however a dump ends, are there
# while a dumped connection waits for its restore, also after restores that failed, and the other side notices nothing.
set -u
. tests/lib.sh
command -v python3 nft >/dev/null || skip "python3 and nft are needed"
[ -e /proc/self/ns/net ] && unshare -n nft list ruleset >/dev/null 2>&1 || skip "no nftables here"

cat >"$DIR/server.py" <<'E2'
import os, socket, sys
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen(1)
open(sys.argv[1] + ".new", "w").write(str(l.getsockname()[1])); os.rename(sys.argv[1] + ".new", sys.argv[1])
c, _ = l.accept()
while True:
	b = c.recv(4096)
	if not b: break
	c.sendall(b)
E2
# counts echoes in a file; ends when something is wrong
cat >"$DIR/peer.py" <<'E2'
import os, socket, sys, time
c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
n = 0
while True:
	m = b"%08d\n" % n
	c.sendall(m)
	got = b""
	while len(got) < len(m):
		b = c.recv(len(m) - len(got))
		assert b, "closed"
		got += b
	assert got == m
	n += 1
	open(sys.argv[2] + ".new", "w").write(str(n)); os.rename(sys.argv[2] + ".new", sys.argv[2])
	time.sleep(0.01)
E2
# kill_at.py N COMMAND…: SIGKILL at its N-th system call (0: never); the last line of output counts them
cat >"$DIR/kill_at.py" <<'E2'
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
n, calls, inside = int(sys.argv[1]), 0, False
pid = os.fork()
if pid == 0:
	libc.ptrace(0, 0, None, None)
	os.kill(os.getpid(), signal.SIGSTOP)
	os.execvp(sys.argv[2], sys.argv[2:])
os.waitpid(pid, 0)
libc.ptrace(0x4200, pid, None, 1 | 0x100000)
libc.ptrace(24, pid, None, None)
while True:
	_, st = os.waitpid(pid, 0x40000000)
	if not os.WIFSTOPPED(st): break
	sig = os.WSTOPSIG(st)
	if sig == signal.SIGTRAP | 0x80:
		sig, inside = 0, not inside
		calls += inside
		if inside and calls == n: os.kill(pid, signal.SIGKILL)
	elif sig in (signal.SIGTRAP, signal.SIGSTOP): sig = 0
	libc.ptrace(24, pid, None, sig or None)
print(calls)
E2

if command -v iptables-legacy-save >/dev/null && iptables-legacy-save >/dev/null 2>&1; then ipt=1; else ipt=; fi
rules() {
	nft list ruleset 2>/dev/null
	[ -z "$ipt" ] || for v in iptables ip6tables; do $v-legacy-save -t mangle; $v-legacy-save -t filter; done 2>/dev/null |
		grep -v '^#' | sed 's/\[.*//'
}
same_as() { rules | cmp -s - "$1"; }
unlocked() { wait_for 30 same_as "$DIR/before" || { rules; fail "$1: the rules are not what they were"; }; }
has_lock() { rules | grep -q stasis-; }
more() { [ "$(cat "$DIR/count")" -gt "$1" ]; }
talks() {
	local n; n=$(cat "$DIR/count" 2>/dev/null || echo 0)
	wait_for 60 more $((n + 2)) || fail "$1: the connection is broken: $(cat "$DIR/peer.err")"
}
start() {
	rm -f "$DIR/port" "$DIR/count"
	setsid python3 "$DIR/server.py" "$DIR/port" </dev/null >"$DIR/server.out" 2>&1 &
	pid=$!; track $pid
	wait_for 10 test -s "$DIR/port" || fail "no server"
	echo 0 >"$DIR/count"
	python3 "$DIR/peer.py" "$(cat "$DIR/port")" "$DIR/count" </dev/null >"$DIR/peer.out" 2>"$DIR/peer.err" &
	peer=$!; track $peer
	talks "start"
}
opts=(--tcp-established)
engine() { # N dump|restore OPTION…
	local n=$1 what=$2; shift 2
	local more=(-d)
	[ "$what" = restore ] || { rm -rf "$DIR/img"; mkdir "$DIR/img"; more=(-t "$pid"); }
	calls=$(python3 "$DIR/kill_at.py" "$n" "$STASIS" "$what" -D "$DIR/img" -o "$what.log" -v4 "${opts[@]}" "${more[@]}" "$@" | tail -1)
}

# rules of somebody else stay what they are
nft -f - <<'E2'
table inet mine {
	chain input { type filter hook input priority 0; tcp dport 1 drop; }
}
E2
rules >"$DIR/before"
cat >"$DIR/script" <<E2
#!/bin/sh
case \$CRTOOLS_SCRIPT_ACTION in \$(cat "$DIR/stage"))
	nft list ruleset >"$DIR/seen"
	case \$(cat "$DIR/deed") in
	both) for p in \$(cat /proc/\$PPID/task/*/children); do
		grep -q warden /proc/\$p/comm && kill -9 \$p; done; kill -9 \$PPID;;
	kill) kill -9 \$PPID;;
	*) exit 1;;
	esac
esac
exit 0
E2
chmod +x "$DIR/script"

start
dump $pid "${opts[@]}" --leave-running || fail "dump --leave-running"
same_as "$DIR/before" || { rules; fail "rules of a dump --leave-running are left"; }
talks "--leave-running"
engine 0 dump --leave-running
same_as "$DIR/before" || fail "rules of a traced dump are left"
all=$calls
for ((i = 1; i <= 6; i++)); do
	engine $((all * i / 7)) dump --leave-running
	unlocked "killed at system call $((all * i / 7)) of $all"
	talks "killed at system call $((all * i / 7)) of $all"
done
echo post-dump >"$DIR/stage"
for deed in fail kill; do
	echo $deed >"$DIR/deed"
	dump $pid "${opts[@]}" --action-script "$DIR/script" >/dev/null 2>&1 && fail "a script that says no does not stop the dump"
	grep -q stasis- "$DIR/seen" || fail "there is no lock at the end of a dump"
	unlocked "a dump that fails at its end ($deed)"
	alive $pid || fail "the target died of a dump that failed"
	talks "a dump that fails at its end ($deed)"
done

# dumped: the lock waits for the restore, through all that fail
dump $pid "${opts[@]}" || fail "dump"
wait $pid 2>/dev/null
has_lock || fail "no lock after a dump"
rules >"$DIR/locked"
engine 0 restore --action-script /nonexistent/script
begun=$calls
same_as "$DIR/locked" || fail "a restore that failed has changed the rules"
echo pre-resume >"$DIR/stage"
for deed in fail kill; do
	echo $deed >"$DIR/deed"
	restore "${opts[@]}" --action-script "$DIR/script" >/dev/null 2>&1 && fail "a script that says no does not stop the restore"
	wait_for 10 gone $pid || fail "a restore that failed leaves tasks"
	wait_for 10 same_as "$DIR/locked" || fail "a restore that failed ($deed) has changed the rules"
done
for ((i = 1; i <= 2; i++)); do
	engine $((begun * i / 2)) restore
	wait_for 10 gone $pid || fail "a restore that was killed leaves tasks"
	wait_for 10 same_as "$DIR/locked" || fail "a restore that was killed at $((begun * i / 2)) has changed the rules"
done
restore "${opts[@]}" || fail "restore"
same_as "$DIR/before" || { rules; fail "rules are left after a restore"; }
talks "restore"

# the other methods
if [ -n "$ipt" ]; then
	opts=(--tcp-established --network-lock iptables)
	dump $pid "${opts[@]}" --leave-running || fail "dump --leave-running, iptables"
	unlocked "--leave-running, iptables"
	engine $((all * 9 / 10)) dump
	if alive $pid; then unlocked "killed, iptables"; dump $pid "${opts[@]}" || fail "dump, iptables"; fi
	iptables-legacy-save -t mangle | grep -q stasis- || fail "no lock by iptables"
	restore "${opts[@]}" || fail "restore, iptables"
	same_as "$DIR/before" || { rules; fail "rules are left, iptables"; }
	talks "restore, iptables"
fi
dump $pid --tcp-established --network-lock skip --leave-running || fail "dump, skip"
same_as "$DIR/before" || fail "rules, though --network-lock skip"
dump $pid --tcp-established --network-lock never >/dev/null 2>&1 && fail "a method that does not exist is taken"
talks "end"

# engine and warden killed at once: the user has to say that they will not come back
echo post-dump >"$DIR/stage"; echo both >"$DIR/deed"
dump $pid --tcp-established --action-script "$DIR/script" >/dev/null 2>&1 && fail "a dump whose engine was killed succeeds"
"$STASIS" recover >"$DIR/recover.out" || { cat "$DIR/recover.out"; fail "recover"; }
grep -q "inet nftables.*done" "$DIR/recover.out" || { cat "$DIR/recover.out"; fail "recover does not remove the lock"; }
unlocked "engine and warden killed"
