# SPDX-License-Identifier: MIT
# lacking.py NUMBER… -- COMMAND…: runs the command as on a kernel that lacks these system calls (a seccomp filter answers ENOSYS).
import ctypes, errno, os, struct, sys
at = sys.argv.index("--")
numbers, command = [int(n) for n in sys.argv[1:at]], sys.argv[at + 1:]
code = [(0x20, 0, 0, 0)]                                    # A = the number
for i, n in enumerate(numbers):
    code.append((0x15, len(numbers) - i, 0, n))             # it is n: to the last line
code += [(0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, 0x00050000 | errno.ENOSYS)]
text = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *c) for c in code))
prog = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(text)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(prog)), 0, 0):
    sys.exit("no filter: %s" % os.strerror(ctypes.get_errno()))
os.execvp(command[0], command)
