#!/bin/bash
# SPDX-License-Identifier: MIT
# Names that are made to harm whoever reads them: escape sequences, newlines and bytes that are no UTF-8 in the name of a task,
# of files and of mappings.  They come back as they were, and nothing that stasis prints or logs has them as they are.
set -u
# the pid is taken below: a pid namespace of its own
if [ -z "${OWN_PIDS:-}" ] && unshare -p -m -f --mount-proc true 2>/dev/null; then
	export OWN_PIDS=1
	exec unshare -p -m -f --mount-proc --propagation private --kill-child bash "$0"
fi
. tests/lib.sh
[ -x /usr/bin/python3 ] || skip "python3 is not installed"
mkdir "$DIR/work"
cat >"$DIR/prog.py" <<'END'
import ctypes, mmap, os, sys, time
os.chdir(sys.argv[1])
libc = ctypes.CDLL(None)
evil = b"\x1b]0;x\x07\nError (core): y\r\x9b31m\xc2\x9b\xff\\"
comm = b"\x1b[31m\na)\\(\xff\x7f"
assert libc.prctl(15, comm) == 0
f = open(evil, "wb+"); f.write(b"data"); f.flush()
gone = open(evil + b"gone", "wb+"); gone.write(b"gone"); gone.flush(); os.unlink(evil + b"gone")
os.mkdir(evil + b"dir"); os.chdir(evil + b"dir")
m = mmap.mmap(f.fileno(), 4)
l = libc.memfd_create(b"\x1b[2J\nmem", 0)
os.write(l, b"mem"); k = mmap.mmap(l, 3)
links = lambda: (os.readlink(b"/proc/self/fd/%d" % f.fileno()), os.readlink(b"/proc/self/fd/%d" % l), os.readlink(b"/proc/self/cwd"))
was = links()
open("../ready", "w").close()
while not os.path.exists("../go"): time.sleep(0.02)
assert open("/proc/self/comm", "rb").read() == comm + b"\n", "comm"
assert links() == was, "links %r, were %r" % (links(), was)
f.seek(0); gone.seek(0)
assert f.read() == b"data" and gone.read() == b"gone" and k[:] == b"mem" and m[:] == b"data"
open("../result", "w").write("ok")
END
start() {
	rm -rf "$DIR/work"; mkdir "$DIR/work"
	setsid /usr/bin/python3 "$DIR/prog.py" "$DIR/work" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 10 test -e "$DIR/work/ready" || { cat "$DIR/out"; fail "it does not start"; }
}
# only printable characters and newlines, as UTF-8, and no line that the names have made
clean() {
	/usr/bin/python3 - "$1" <<'END' || { cat -v "$1"; fail "$2 shows the names as they are"; }
import sys, unicodedata
text = open(sys.argv[1], "rb").read().decode("utf-8")
bad = [c for c in text if unicodedata.category(c) == "Cc" and c not in "\n\t"]
sys.exit(1 if bad or any(l.startswith("Error (core): y") for l in text.split("\n")) else 0)
END
}
json() { /usr/bin/python3 -c 'import json, sys; json.load(open(sys.argv[1], encoding="utf-8"))' "$1" || { cat -v "$1"; fail "$2 is no JSON"; }; }
start
"$STASIS" check --pid $pid >"$DIR/said" 2>&1; clean "$DIR/said" "check --pid"
"$STASIS" check --pid $pid --no-plugin files --json >"$DIR/said" 2>&1; json "$DIR/said" "check --pid --json"
mkdir "$DIR/img"
"$STASIS" dump -t $pid -D "$DIR/img" -R --no-plugin files 2>"$DIR/said" && fail "a dump without the plugin for files"
grep -q "x1b" "$DIR/said" || { cat -v "$DIR/said"; fail "the file is not named"; }
clean "$DIR/said" "a dump that is refused"
dump $pid --exclude-mem "/nowhere" || fail "dump"
wait_for 5 gone $pid; wait $pid 2>/dev/null
clean "$DIR/img/dump.log" "the log of the dump"
"$STASIS" show "$DIR/img" >"$DIR/said" 2>&1 || fail "show"; clean "$DIR/said" "show"
"$STASIS" show "$DIR/img" --json >"$DIR/said" 2>&1 || fail "show --json"; json "$DIR/said" "show --json"
# somebody with such a name has the pid
if [ -n "${OWN_PIDS:-}" ] && echo $((pid - 1)) 2>/dev/null >/proc/sys/kernel/ns_last_pid; then
	/usr/bin/python3 -c 'import ctypes, time; ctypes.CDLL(None).prctl(15, b"\x1b[31m\nError (core): y"); open("'"$DIR"'/held", "w"); time.sleep(100)' &
	holder=$!; track $holder
	wait_for 10 test -e "$DIR/held"
	"$STASIS" restore -d -D "$DIR/img" 2>"$DIR/said" && fail "a restore whose pid is taken"
	[ $holder != $pid ] || grep -q "pid $pid is taken by" "$DIR/said" || { cat -v "$DIR/said"; fail "the message about the pid"; }
	clean "$DIR/said" "a restore whose pid is taken"
	kill -KILL $holder; wait $holder 2>/dev/null
fi
for f in "$DIR"/work/*; do [ ! -f "$f" ] || [ "${f##*/}" = ready ] || mv "$f" "$DIR/kept"; done
"$STASIS" restore -d -D "$DIR/img" 2>"$DIR/said" && fail "a restore without its file"
grep -q "is missing" "$DIR/said" || { cat -v "$DIR/said"; fail "the message about the file"; }
clean "$DIR/said" "a restore without its file"
"$STASIS" check --images "$DIR/img" >"$DIR/said" 2>&1 && fail "check --images without the file"; clean "$DIR/said" "check --images"
"$STASIS" check --images "$DIR/img" --json >"$DIR/said" 2>&1; json "$DIR/said" "check --images --json"
mv "$DIR/kept" "$DIR/work/"$'\x1b]0;x\x07\nError (core): y\r\x9b31m\xc2\x9b\xff\\'
restore || fail "restore"
clean "$DIR/img/restore.log" "the log of the restore"
touch "$DIR/work/go"
wait_for 10 test -s "$DIR/work/result" || { cat -v "$DIR/out"; fail "no result"; }
