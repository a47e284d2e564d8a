#!/bin/bash
# SPDX-License-Identifier: MIT
# File locks towards the outside: refused without --file-locks, not to be had by others after a restore, reported when
# others were faster; what others hold is left alone; in the foreground the engine keeps nothing locked.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import fcntl, mmap, os, struct, sys, time
os.chdir(sys.argv[1])
def lock(fd, cmd, kind, start, size):
    fcntl.fcntl(fd, cmd, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, size, 0))
f = open("flock", "w")
fcntl.flock(f, fcntl.LOCK_EX)
p = open("posix", "w")
lock(p.fileno(), fcntl.F_SETLK, fcntl.F_WRLCK, 5, 10)
o = open("ofd", "w")
lock(o.fileno(), fcntl.F_OFD_SETLK, fcntl.F_WRLCK, 20, 10)
open("lease", "w").close()
l = open("lease")
fcntl.fcntl(l, fcntl.F_SETLEASE, fcntl.F_RDLCK)
if len(sys.argv) > 2:
    m = open("hidden", "w+")
    m.truncate(4096)
    fcntl.flock(m, fcntl.LOCK_SH)
    keep = mmap.mmap(m.fileno(), 4096)
    # the mapping's own duplicate goes as well
    for fd in os.listdir("/proc/self/fd"):
        if os.path.realpath("/proc/self/fd/" + fd) == os.path.realpath("hidden"):
            os.close(int(fd))
open("ready", "w").close()
while not os.path.exists("go"):
    time.sleep(0.02)
f.close()
open("closed", "w").close()
while os.path.exists("go"):
    time.sleep(0.02)
os._exit(7)
E2
# what an outside process gets
cat >"$DIR/try.py" <<'E2'
import fcntl, os, struct, sys
def lock(name, cmd, start, size):
    with open(name, "r+") as f:
        try:
            fcntl.fcntl(f, cmd, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, size, 0))
            return True
        except BlockingIOError:
            return False
os.chdir(sys.argv[1])
got = [lock("posix", fcntl.F_SETLK, 14, 1), lock("posix", fcntl.F_SETLK, 15, 1),
       lock("ofd", fcntl.F_OFD_SETLK, 29, 1), lock("ofd", fcntl.F_SETLK, 30, 1)]
try:
    fcntl.flock(open("flock"), fcntl.LOCK_SH | fcntl.LOCK_NB)
    got.append(True)
except BlockingIOError:
    got.append(False)
sys.exit(0 if got == [False, True, False, True, False] else "got %r" % got)
E2
start() { # [ARGUMENT]
	work=$DIR/work; rm -rf "$work"; mkdir "$work"
	setsid python3 "$DIR/prog.py" "$work" "$@" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 10 test -e "$work/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
}

start
exec 40>>"$work/posix"
flock 40 || fail "the outside process does not get a lock of its own"
python3 "$DIR/try.py" "$work" || fail "before the dump"
"$STASIS" check --pid "$pid" >"$DIR/check" 2>&1 && fail "check finds nothing in the way"
for what in "an exclusive flock" "a write lock (fcntl) of bytes 5-14" "a write lock (OFD) of bytes 20-29" "a read lease"; do
	grep -qF "$what" "$DIR/check" || { cat "$DIR/check"; fail "check does not tell of $what"; }
done
grep -q -- --file-locks "$DIR/check" || fail "check names no remedy"
! grep -q shared "$DIR/check" && [ "$(grep -c 'it holds' "$DIR/check")" = 4 ] || { cat "$DIR/check"; fail "check finds too much"; }
"$STASIS" check --pid "$pid" --file-locks >"$DIR/check" 2>&1 || { cat "$DIR/check"; fail "check --file-locks"; }
dump "$pid" >"$DIR/dump.out" 2>&1 && fail "locks were dumped without being asked for"
grep -q 'an exclusive flock' "$DIR/img/dump.log" && [ ! -e "$DIR/img/filelocks.img" ] || fail "the refusal names no lock"
alive "$pid" || fail "the program died of a dump that was refused"

dump "$pid" --file-locks || fail "dump"
wait "$pid" 2>/dev/null
restore --no-plugin locks >"$DIR/restore.out" 2>&1 && fail "a restore without the plugin lost the locks"
grep -q 'plugin locks' "$DIR/img/restore.log" || fail "no word of the plugin"

# others were faster
exec 41<>"$work/flock"
flock 41
restore >"$DIR/restore.out" 2>&1 && fail "the lock was taken twice"
grep -q "work/flock: .* exclusive flock.*another process" "$DIR/img/restore.log" || { cat "$DIR/restore.out"; fail "no word of who has the lock"; }
exec 41>&-
python3 -c 'import fcntl, sys, time
f = open(sys.argv[1], "r+"); fcntl.lockf(f, fcntl.LOCK_EX, 2, 4); print("locked", flush=True); time.sleep(100)' "$work/posix" >"$DIR/locked" &
other=$!; track $other
wait_for 10 test -s "$DIR/locked"
restore >"$DIR/restore.out" 2>&1 && fail "the range was locked twice"
grep -q "work/posix: .* bytes 5-14.*(pid $other," "$DIR/img/restore.log" || { cat "$DIR/restore.out"; fail "no word of who has the range"; }
kill $other; wait $other 2>/dev/null

restore || fail "restore"
python3 "$DIR/try.py" "$work" || fail "after the restore"
kill -KILL "$RESTORED"; wait_for 5 gone "$RESTORED"

# in the foreground: what the program lets go is free
"$STASIS" restore -D "$DIR/img" -o restore.log --pidfile "$DIR/fg.pid" & fg=$!
wait_for 10 test -s "$DIR/fg.pid"; track "$(cat "$DIR/fg.pid")"
python3 "$DIR/try.py" "$work" || fail "after the restore in the foreground"
touch "$work/go"
wait_for 10 test -e "$work/closed" || fail "the program does not go on"
flock -n "$work/flock" true || fail "the engine keeps a lock that the program has let go"
rm "$work/go"
wait $fg; rc=$?
[ $rc = 7 ] || fail "restore ended with $rc instead of the program's 7"

# a flock whose descriptor is closed lives as long as the file is mapped
start hidden
dump "$pid" --file-locks || fail "dump of a lock that no descriptor shows"
wait "$pid" 2>/dev/null
flock -n -x "$work/hidden" true || fail "the lock outlives the program"
restore || fail "restore of a lock that no descriptor shows"
flock -n -x "$work/hidden" true && fail "the lock that only a mapping keeps was lost"
kill -KILL "$RESTORED"; wait_for 5 gone "$RESTORED"
flock -n -x "$work/hidden" true || fail "somebody else has got the lock"
