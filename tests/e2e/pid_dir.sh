#!/bin/bash
# SPDX-License-Identifier: MIT
# A directory that is called like a process of the tree, at the root of a file system whose root has the inode number of /proc's:
# what is in there are files like others, with their positions.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import os, sys, time
top = sys.argv[1]
os.chdir(top)
mine = "fs/%d" % os.getpid()
os.mkdir(mine)
fd = os.open(mine + "/data", os.O_RDWR | os.O_CREAT, 0o600)
gone = os.open(mine + "/gone", os.O_RDWR | os.O_CREAT, 0o600)
for f in fd, gone:
    os.write(f, b"0123456789"); os.lseek(f, 4, os.SEEK_SET)
os.unlink(mine + "/gone")
os.chdir(mine)
open(top + "/ready", "w").close()
while not os.path.exists(top + "/go"): time.sleep(0.02)
bad = [str(f) for f in (fd, gone) if os.read(f, 20) != b"456789"]
if not os.path.samefile(".", top + "/" + mine): bad.append("cwd")
open(top + "/result.new", "w").write(" ".join(bad) or "ok"); os.rename(top + "/result.new", top + "/result")
E2
mkdir "$DIR/fs"
mount -t tmpfs tmpfs "$DIR/fs" 2>/dev/null || skip "no file system can be mounted here"
[ "$(stat -c %i "$DIR/fs")" = 1 ] || skip "the root of a tmpfs has another inode number than that of /proc"
setsid python3 "$DIR/prog.py" "$DIR" </dev/null >"$DIR/out" 2>&1 & pid=$!; track $pid
wait_for 60 test -e "$DIR/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
dump $pid || fail "dump"
wait $pid 2>/dev/null
restore || fail "restore"
touch "$DIR/go"
result_ok
