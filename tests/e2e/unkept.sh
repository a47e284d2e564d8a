#!/bin/bash
# SPDX-License-Identifier: MIT
# What cannot be kept is refused by name, all of it at once, with what to do, and the program runs on: requests of a ring
# in flight, secret memory without a descriptor, a performance counter, a BPF program.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import ctypes, mmap, os, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
os.chdir(sys.argv[1])
made = []

def ring(opcode, fd, arg32=0, addr=0, length=0):
    """A ring with one request in flight."""
    p = ctypes.create_string_buffer(120)
    r = libc.syscall(425, 8, p)
    if r < 0:
        return False
    def word(off): return struct.unpack_from("I", p, off)[0]
    # sq_off at 40: head tail mask entries flags dropped array
    sq = mmap.mmap(r, 4096, offset=0)
    sqes = mmap.mmap(r, 4096, offset=0x10000000)
    # opcode flags ioprio fd off addr len op_flags user_data
    sqes[0:40] = struct.pack("=BBHiQQIIQ", opcode, 0, 0, fd, 0, addr, length, arg32, 7)
    sq[word(64):word(64) + 4] = struct.pack("I", 0)
    sq[word(44):word(44) + 4] = struct.pack("I", 1)
    if libc.syscall(426, r, 1, 0, 0, None, 0) != 1:
        return False
    keep.append((sq, sqes, r))
    return True

keep = []
pr, pw = os.pipe()
if ring(6, pr, arg32=1):                          # IORING_OP_POLL_ADD
    made.append("poll")
ts = ctypes.create_string_buffer(struct.pack("qq", 1000, 0))
if ring(11, -1, addr=ctypes.addressof(ts), length=1):   # IORING_OP_TIMEOUT
    made.append("timeout")
fd = libc.syscall(447, 0)
if fd >= 0:
    os.ftruncate(fd, 4096)
    if libc.mmap(None, ctypes.c_size_t(4096), 3, 1, fd, ctypes.c_long(0)) not in (None, ctypes.c_void_p(-1).value):
        made.append("secret")
    os.close(fd)
attr = bytearray(128)
struct.pack_into("=IIQ", attr, 0, 1, 128, 0)
if libc.syscall(298, (ctypes.c_char * 128).from_buffer(attr), 0, -1, -1, 0) >= 0:
    made.append("perf")
s = libc.socket(40, 1, 0)                         # being connected: the other machine knows of it
if s >= 0:
    libc.fcntl(s, 4, 0o4000)
    if libc.connect(s, struct.pack("=HHIII", 40, 0, 1, 2, 0), 16) < 0 and ctypes.get_errno() == 115:
        made.append("vsock")
for family, kind, name in ((44, 3, "xdp"), (38, 5, "alg"), (29, 3, "can")):
    s = libc.socket(family, kind, 0)
    if s >= 0:
        made.append(name)
open("made", "w").write(" ".join(made) + "\n")
os.rename("made", "ready")
n = 0
while True:
    n += 1
    open("beat.new", "w").write("%d\n" % n)
    os.rename("beat.new", "beat")
    time.sleep(0.02)
E2
setsid python3 "$DIR/prog.py" "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 20 test -e "$DIR/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
read -r made <"$DIR/ready"
[ -n "$made" ] || skip "the kernel gives none of these"
mkdir "$DIR/img"
"$STASIS" dump -t "$pid" -D "$DIR/img" -o dump.log -v4 >"$DIR/said" 2>&1 && fail "it was dumped with $made"
for m in $made; do
	case $m in
	poll) want="requests of the ring wait for an event" ;;
	timeout) want="some are in flight" ;;
	secret) want="has no descriptor any more" ;;
	perf) want="a performance counter" ;;
	vsock) want="vsock connection .*--vsock-connected close" ;;
	xdp) want="AF_XDP" ;;
	alg) want="AF_ALG" ;;
	can) want="sockets for CAN bus" ;;
	esac
	grep -q "$want" "$DIR/img/dump.log" || { tail -20 "$DIR/img/dump.log"; fail "$m: \"$want\" is not said"; }
done
"$STASIS" check --pid "$pid" >"$DIR/said" 2>&1 && fail "check finds nothing"
was=$(cat "$DIR/beat")
wait_for 10 all_beyond 5 "$was" || fail "the program does not go on"
