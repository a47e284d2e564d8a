#!/bin/bash
# SPDX-License-Identifier: MIT
# A listener of the tree that decides about what the dump has to open would make it hang: refused by name, and the tree runs on.
# One that decides about something else is dumped.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import ctypes, mmap, os, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
where, flags, mask = sys.argv[2], int(sys.argv[3], 0), int(sys.argv[4], 0)
os.chdir(sys.argv[1])
mapped = mmap.mmap(os.open("bin/mapped", os.O_RDONLY), 0, prot=mmap.PROT_READ)
fd = libc.fanotify_init(4 | 1, os.O_RDONLY | os.O_CLOEXEC)  # FAN_CLASS_CONTENT, close-on-exec
if fd < 0:
    open("skip", "w").write("fanotify_init: " + os.strerror(ctypes.get_errno()))
    sys.exit()
def answer():
    while True:
        data = os.read(fd, 4096)
        while data:
            length, vers, res, meta, m, f, pid = struct.unpack_from("=IBBHQii", data)
            if m & 0x30000:
                os.write(fd, struct.pack("=iI", f, 1))
            os.close(f)
            data = data[length:]
threading.Thread(target=answer, daemon=True).start()
if libc.fanotify_mark(fd, 1 | flags, ctypes.c_uint64(mask), -100, where.encode()) < 0:
    open("skip", "w").write("fanotify_mark: " + os.strerror(ctypes.get_errno()))
    sys.exit()
n = 0
while True:
    n += 1
    open("beat.new", "w").write("%d\n" % n)
    os.rename("beat.new", "beat")
    time.sleep(0.02)
E2
start() {
	rm -f "$DIR/beat"
	setsid python3 "$DIR/prog.py" "$DIR" "$@" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 20 test -e "$DIR/beat" -o -e "$DIR/skip"
	[ ! -e "$DIR/skip" ] || skip "$(cat "$DIR/skip")"
}
refused() {
	rm -rf "$DIR/img"; mkdir "$DIR/img"
	timeout -s KILL 30 "$STASIS" dump -t $pid -D "$DIR/img" >"$DIR/said" 2>&1
	rc=$?
	[ $rc != 137 ] || fail "the dump hangs"
	[ $rc != 0 ] || fail "it was dumped"
	grep -q "decides about access to $1.*which the dump has to open" "$DIR/said" || fail "not said: $(cat "$DIR/said")"
	was=$(cat "$DIR/beat")
	wait_for 10 all_beyond 5 "$was" || fail "the program does not go on"
	kill -KILL $pid; wait $pid 2>/dev/null
}
# a mount of the test's own, so that nobody else asks
mkdir "$DIR/bin"; mount -t tmpfs none "$DIR/bin" || skip "nothing can be mounted"
head -c 8192 /dev/zero >"$DIR/bin/mapped"
start "$DIR/bin" 0x10 0x10000 # FAN_MARK_MOUNT, FAN_OPEN_PERM
refused "a mount"
start "$DIR/bin" 0x100 0x10000 # FAN_MARK_FILESYSTEM
refused "a file system"
start "$DIR/bin/mapped" 0 0x20000 # FAN_ACCESS_PERM
refused "files"
start "$DIR/bin" 0 0x8010000 # FAN_OPEN_PERM of what is in the directory
refused "files"
# something else
mkdir "$DIR/else"; echo x >"$DIR/else/file"
start "$DIR/else/file" 0 0x10000
dump $pid --leave-running || fail "a listener that decides about something else is not dumped"
