#!/bin/bash
# SPDX-License-Identifier: MIT
# A dump that fails at its very end, when the events of an inotify have been taken: the program that goes on is told by an
# overflow event that events were lost. A dump that fails earlier takes nothing.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
os.chdir(sys.argv[1])
fd = libc.inotify_init1(0o4000)
os.mkdir("dir")
wd = libc.inotify_add_watch(fd, b"dir", 0x100)  # IN_CREATE
open("dir/a", "w").close(); open("dir/b", "w").close()
open("ready", "w").close()
while not os.path.exists("go"): time.sleep(0.02)
def events():
    out = []
    try: data = os.read(fd, 65536)
    except BlockingIOError: return out
    while data:
        w, mask, cookie, n = struct.unpack_from("iIII", data)
        out.append((w, hex(mask), data[16:16 + n].rstrip(b"\0").decode()))
        data = data[16 + n:]
    return out
first = events()
open("dir/c", "w").close()
print(first, events(), file=open("result.new", "w")); os.rename("result.new", "result")
E2
run() { # WANT, then options of the dump
	local want=$1; shift
	rm -rf "$DIR/w"; mkdir "$DIR/w"
	setsid python3 "$DIR/prog.py" "$DIR/w" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 20 test -e "$DIR/w/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
	rm -rf "$DIR/img"; mkdir "$DIR/img"
	"$STASIS" dump -t $pid -D "$DIR/img" -o dump.log -v4 "$@" >"$DIR/said" 2>&1 && fail "the dump did not fail"
	touch "$DIR/w/go"
	wait_for 20 test -e "$DIR/w/result" || { cat "$DIR/out"; fail "it does not go on"; }
	[ "$(cat "$DIR/w/result")" = "$want" ] || { tail -5 "$DIR/img/dump.log"; fail "it got $(cat "$DIR/w/result") instead of $want"; }
}
cat >"$DIR/script" <<'E2'
#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ]
E2
chmod +x "$DIR/script"
run "[(-1, '0x4000', '')] [(1, '0x100', 'c')]" --action-script "$DIR/script"
run "[(1, '0x100', 'a'), (1, '0x100', 'b')] [(1, '0x100', 'c')]" --policy inotify=fail
