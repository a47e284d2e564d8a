#!/bin/bash
# SPDX-License-Identifier: MIT
# Rings of io_uring: what cannot be kept is refused by name, also of a ring that only its own task may ask; what cannot be seen is
# said to be lost, and --io-uring-setup at the restore sets it.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import ctypes, mmap, os, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
dir, what = sys.argv[1:3]
def call(*a):
    r = libc.syscall(*[ctypes.c_long(x) if isinstance(x, int) else x for x in a])
    return r if r >= 0 else -ctypes.get_errno()
def finish(text):
    open(dir + "/result.new", "w").write(text); os.rename(dir + "/result.new", dir + "/result"); sys.exit(0)
def ring(flags):
    p = ctypes.create_string_buffer(struct.pack("IIII", 0, 0, flags, 0).ljust(120, b"\0"))
    fd = call(425, 8, p)
    if fd < 0: open(dir + "/ready", "w").write("skip"); sys.exit(0)
    return fd, struct.unpack("30I", p.raw[:120])
def register(fd, op, arg, n): return call(427, fd, op, arg, n)
def submit(fd, p, sqes, wait=0):
    m = mmap.mmap(fd, 4096); s = mmap.mmap(fd, 4096, offset=0x10000000)
    mask = 7; tail = struct.unpack_from("I", m, p[11])[0]
    for i, e in enumerate(sqes):
        s[64 * ((tail + i) & mask):64 * ((tail + i) & mask) + 64] = e.ljust(64, b"\0")
        struct.pack_into("I", m, p[16] + 4 * ((tail + i) & mask), (tail + i) & mask)
    struct.pack_into("I", m, p[11], tail + len(sqes))
    return call(426, fd, len(sqes), wait, 1 if wait else 0, 0, 0)
keep = ctypes.create_string_buffer(8192)
page = (ctypes.addressof(keep) + 4095) & ~4095
flags = {"restricted": 64, "alone": 1 << 12, "region": 64}.get(what, 0)
fd, p = ring(flags)
ok = 0
if what == "restricted": ok = register(fd, 11, ctypes.create_string_buffer(struct.pack("HBB3I", 1, 0, 0, 0, 0, 0)), 1)
if what == "region":
    mem = struct.pack("QQIIQ4Q", page, 4096, 1, 0, 0, 0, 0, 0, 0)
    kept = ctypes.create_string_buffer(mem)
    ok = register(fd, 34, ctypes.create_string_buffer(struct.pack("QQ6Q", ctypes.addressof(kept), 1, 0, 0, 0, 0, 0, 0)), 1)
if what == "alone": # provided buffers, mapped by the program
    ok = register(fd, 22, ctypes.create_string_buffer(struct.pack("QIHH3Q", page, 8, 7, 0, 0, 0, 0)), 1)
    maps = mmap.mmap(fd, 4096), mmap.mmap(fd, 4096, offset=0x10000000)
if what == "provided": # IORING_OP_PROVIDE_BUFFERS
    ok = submit(fd, p, [struct.pack("BBHiQQIIQH", 31, 0, 0, 1, 0, page, 64, 0, 1, 0)], 1) - 1
open(dir + "/made", "w").write("skip" if ok else "ok"); os.rename(dir + "/made", dir + "/ready")
while not os.path.exists(dir + "/go"): time.sleep(0.02)
# a request that makes no sense, and one behind it, which is taken with IORING_SETUP_SUBMIT_ALL only
n = submit(fd, p, [b"\xff", b"\0"])
finish("ok" if n == 2 else "FAIL %d of 2 requests were taken" % n)
E2
start() { # WHAT
	setsid python3 "$DIR/prog.py" "$DIR" "$1" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 60 test -e "$DIR/ready" || { cat "$DIR/out"; fail "$1: the program did not get ready"; }
	read -r made <"$DIR/ready" || true
	rm "$DIR/ready"
}
refused() { # WHAT TEXT
	start "$1"
	if [ "$made" = ok ]; then
		dump "$pid" && fail "$1: it was dumped"
		grep -q "$2" "$DIR/img/dump.log" || fail "$1: the reason is $(grep Error "$DIR/img/dump.log")"
		kill -0 "$pid" || fail "$1: the program is gone"
		seen=$((seen + 1))
	fi
	kill -KILL "$pid" 2>/dev/null; wait "$pid" 2>/dev/null
}
seen=0
refused restricted "restrictions, which cannot be read"
refused region "region for arguments"
refused alone "buffers of group 7 provided"
refused provided "buffers of group 0 provided"
start plain
[ "$made" = ok ] || skip "this kernel gives no io_uring"
[ $seen -gt 0 ] || fail "none of the others could be made"
dump "$pid" --display-stats >"$DIR/stats" || fail "dump"
wait "$pid" 2>/dev/null
grep -q 'flags of rings that cannot be seen' "$DIR/stats" || fail "nothing is said about what cannot be seen: $(cat "$DIR/stats")"
restore --io-uring-setup no-such-flag && fail "a flag that there is not was taken"
grep -q 'no-such-flag' "$DIR/img/restore.log" || fail "the reason: $(grep Error "$DIR/img/restore.log")"
restore --io-uring-setup submit-all || fail "restore"
touch "$DIR/go"
result_ok
