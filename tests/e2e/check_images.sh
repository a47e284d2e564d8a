#!/bin/bash
# SPDX-License-Identifier: MIT
# check --images: everything that stands in the way of a restore, all at once, and nothing is changed by asking; mended, it says so
# and the restore works.
set -u
# a pid namespace of its own: the next pid is chosen below, and nobody else may get it
if [ -z "${OWN_PIDS:-}" ] && unshare -p -m -f --mount-proc true 2>/dev/null; then
	export OWN_PIDS=1
	exec unshare -p -m -f --mount-proc --propagation private --kill-child bash "$0"
fi
. tests/lib.sh
[ -x /usr/bin/python3 ] || skip "python3 is not installed"
mkdir "$DIR/work"
cat >"$DIR/prog.py" <<'EOF'
import os, socket, sys, time
os.chdir(sys.argv[1])
keep = [open(n, "w+") for n in ("gone", "shrunk", "mode", "same", "deleted")]
for f in keep: f.write("text of " + f.name); f.flush()
os.unlink("deleted")
l = socket.socket(socket.AF_UNIX); l.bind("path.sock"); l.listen(1)
a = socket.socket(socket.AF_UNIX); a.bind(b"\0" + sys.argv[2].encode()); a.listen(1)
open("ready", "w").close()
while not os.path.exists("go"): time.sleep(0.02)
for f in keep: f.seek(0); assert f.read() == "text of " + f.name
open("result", "w").write("ok")
EOF
name=stasis-check-$$-$RANDOM
setsid /usr/bin/python3 "$DIR/prog.py" "$DIR/work" "$name" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 10 test -e "$DIR/work/ready" || { cat "$DIR/out"; fail "it does not start"; }
dump $pid || fail "dump"
wait_for 5 gone $pid; wait $pid 2>/dev/null

check() { "$STASIS" check --images "$DIR/img" "$@" >"$DIR/said" 2>&1; }
check || { cat "$DIR/said"; fail "images that are good are called bad"; }
grep -q "can be restored here" "$DIR/said" || fail "it says: $(cat "$DIR/said")"
[ -z "$(ls -A "$DIR/work" | grep -vx -e gone -e shrunk -e mode -e same -e path.sock -e ready)" ] || fail "the check made files"

cd "$DIR/work" || exit 1
mv gone was.gone; cp -p shrunk was.shrunk; : >shrunk; chmod 600 mode; rm path.sock; echo >path.sock
/usr/bin/python3 -c "import socket, time; s = socket.socket(socket.AF_UNIX); s.bind(b'\0$name'); s.listen(1); open('held', 'w'); time.sleep(1000)" &
holder=$!; track $holder
wait_for 10 test -e held
before=$(ls -la --time-style=full-iso)
check && { cat "$DIR/said"; fail "it says that it can be restored"; }
for what in "work/gone is missing" "work/shrunk has 0 bytes" "work/mode has mode 0600" "path.sock is in the way" "@$name"; do
	grep -qF -- "$what" "$DIR/said" || { cat "$DIR/said"; fail "'$what' is not said"; }
done
check --json && fail "--json: status 0"
/usr/bin/python3 -c "import json, sys; d = json.load(open('$DIR/said')); sys.exit(d['restorable'] or len(d['blockers']) < 5)" ||
	{ cat "$DIR/said"; fail "--json"; }
[ "$(ls -la --time-style=full-iso)" = "$before" ] || fail "the check changed something"

# a process that has the pid
kill $holder; wait $holder 2>/dev/null
mv was.gone gone; cp -p was.shrunk shrunk; chmod 644 mode; rm path.sock
if [ -n "${OWN_PIDS:-}" ] && echo $((pid - 1)) 2>/dev/null >/proc/sys/kernel/ns_last_pid; then
	sleep 1000 & holder=$!; track $holder
	if [ $holder = $pid ]; then
		check && fail "its pid is taken and it says that it can be restored"
		grep -q "pid $pid is taken by sleep" "$DIR/said" || { cat "$DIR/said"; fail "the holder of the pid is not named"; }
	fi
	kill $holder; wait $holder 2>/dev/null
fi
check || { cat "$DIR/said"; fail "mended, but still called bad"; }
restore || fail "restore"
touch go
wait_for 10 test -s result || { cat "$DIR/out"; fail "no result"; }
