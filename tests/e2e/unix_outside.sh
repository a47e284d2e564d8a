#!/bin/bash
# SPDX-License-Identifier: MIT
# Unix sockets with peers outside of the tree: refused with what to do, given up, or replaced by descriptors of the caller.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
prog=$BUILD/programs/unix/severed work=$DIR/work
[ -x "$prog" ] || fail "there is no plugin for unix sockets"
mkdir -p "$work"; cd "$work" || exit 1
setsid "$prog" "$work" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 10 test -e "$work/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
read -r -a ino <"$work/inodes"

refused() { # OPTION…
	"$STASIS" dump -t $pid -D "$DIR" -o bad.log "$@" 2>"$DIR/err" && fail "$*: a peer outside was accepted"
	alive $pid || fail "the program died of a dump that was refused"
}
refused
for text in --unix-peer "unix[${ino[0]}]" "unix[${ino[3]}]"; do
	grep -qF -- "$text" "$DIR/err" || fail "the message does not name $text: $(cat "$DIR/err")"
done
refused --unix-peer never
grep -q 'fail or close' "$DIR/err" || fail "the message does not explain the option: $(cat "$DIR/err")"
refused --external "unix[${ino[0]}]"
! grep -qF "unix[${ino[0]}]" "$DIR/err" || fail "an external socket was refused: $(cat "$DIR/err")"

dump $pid --leave-running --unix-peer close || fail "dump --unix-peer close"
grep -q '4 unix sockets have a peer outside' "$DIR/img/dump.log" || fail "the log does not count: $(grep -i peer "$DIR/img/dump.log")"
external=()
for i in "${ino[@]}"; do external+=(--external "unix[$i]"); done
dump $pid "${external[@]}" || fail "dump --external"
wait $pid 2>/dev/null
touch "$work/replaced"

cat >"$DIR/pass.py" <<'E2'
import os, socket, subprocess, sys
stasis, img, pidfile, go, first, second = sys.argv[1:]
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM), socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
subprocess.run([stasis, "restore", "-d", "-D", img, "-o", "restore.log", "-v4", "--pidfile", pidfile,
                "--inherit-fd", f"fd[{a[1].fileno()}]:unix[{first}]",
                "--inherit-fd", f"fd[{b[1].fileno()}]:socket:[{second}]"],
               pass_fds=(a[1].fileno(), b[1].fileno()), check=True)
a[1].close()
b[1].close()
open(go, "w").close()
for s in (a[0], b[0]):
    s.settimeout(10)
    assert s.recv(6) == b"hello\n"
a[0].send(b"back")
assert a[0].recv(1) == b""  # until it ends
E2
python3 "$DIR/pass.py" "$STASIS" "$DIR/img" "$DIR/restored.pid" "$work/go" "${ino[0]}" "${ino[1]}" ||
	{ tail -n 20 "$DIR/img/restore.log"; fail "restore --inherit-fd"; }
track "$(cat "$DIR/restored.pid")"
wait_for 10 test -s "$work/result" || fail "the program gives no result"
[ "$(cat "$work/result")" = ok ] || fail "$(cat "$work/result")"
