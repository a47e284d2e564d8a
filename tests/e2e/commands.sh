#!/bin/bash
# SPDX-License-Identifier: MIT
# What is asked of commands beside a plain dump and restore: a tree left stopped, a root that becomes the caller's child or that
# of another program, features by name, and what programs read.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
state() { sed 's/.*) //; s/ .*//' /proc/"$1"/stat; }
parent() { awk '/^PPid/ { print $2 }' /proc/"$1"/status; }
is() { [ "$($1 "$2")" = "$3" ]; }
json() { python3 -c "import json, sys; d = json.load(sys.stdin); assert $1, d"; }
start() {
	rm -rf "$DIR/work"; mkdir "$DIR/work"
	setsid "$BUILD/programs/core/no_files" "$DIR/work" </dev/null >"$DIR/out" 2>&1 & pid=$!; track $pid
	wait_for 20 test -e "$DIR/work/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
}
good() { touch "$DIR/work/go"; wait_for 20 test -s "$DIR/work/result" && [ "$(cat "$DIR/work/result")" = ok ] || fail "$1: $(cat "$DIR/work/result")"; }

start
"$STASIS" check --pid $pid --json >"$DIR/json" || fail "check --pid: $(cat "$DIR/json")"
json 'd["blockers"] == []' <"$DIR/json" || fail "check --pid --json"
dump $pid --leave-stopped || fail "dump --leave-stopped"
wait_for 5 is state $pid T || fail "left stopped, it is in state $(state $pid)"
kill -CONT $pid
good "left stopped"
wait $pid

start
dump $pid || fail "dump"
wait $pid 2>/dev/null
"$STASIS" show "$DIR/img" --json | json 'd' || fail "show --json"
python3 - "$STASIS" "$DIR" >"$DIR/said" 2>&1 <<'E2' || fail "restore --restore-sibling: $(tail -n 5 "$DIR/said")"
import os, subprocess, sys
stasis, top = sys.argv[1:]
subprocess.run([stasis, "restore", "-d", "--restore-sibling", "-D", top + "/img", "--pidfile", top + "/sibling.pid"], check=True)
pid = int(open(top + "/sibling.pid").read())
open(top + "/work/go", "w").close()
got, status = os.waitpid(pid, 0)
assert got == pid and status == 0, (got, status)
E2
good "restored as a child of the caller"

start
dump $pid || fail "dump"
wait $pid 2>/dev/null
rm -f "$DIR/restored.pid"
"$STASIS" restore --exec-cmd -D "$DIR/img" --pidfile "$DIR/restored.pid" -- \
	bash -c 'ppid=$(awk "/^PPid/ { print \$2 }" /proc/$(cat "$1")/status); echo "$ppid $$" >"$2"; wait; sleep 30' bash "$DIR/restored.pid" "$DIR/said" &
cmd=$!; track $cmd
wait_for 20 test -s "$DIR/said" || fail "--exec-cmd: the command has not run"
read -r a b <"$DIR/said"
[ "$a" = "$b" ] || fail "--exec-cmd: the parent of the root is $a, the command $b"
track "$(cat "$DIR/restored.pid")"
good "restored below a command"

"$STASIS" check --feature list >"$DIR/list" || fail "check --feature list"
"$STASIS" check --feature kcmp >/dev/null || fail "check --feature kcmp"
! "$STASIS" check --feature no_such_thing >"$DIR/says" 2>&1 || fail "a feature that there is not"
grep -q "Unknown feature no_such_thing" "$DIR/says" || fail "$(cat "$DIR/says")"
"$STASIS" plugins --json | json 'd' || fail "plugins --json"
