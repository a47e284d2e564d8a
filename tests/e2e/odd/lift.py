# SPDX-License-Identifier: MIT
# lift.py WORD BIT FILE [less]: sets a bit of the WORD-th number of field 6 (capability) of a cpuinfo.img, as if the CPU of the dump had a
# feature more; less: takes it away.  WORD "state": of field 8, the components of the extended state; "vendor": BIT is field 1.
import sys
word, bit, path, less = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:] == ["less"]
def change(v): return v & ~(1 << bit) if less else v | 1 << bit
data = open(path, 'rb').read()
head, size, msg = data[:8], int.from_bytes(data[8:12], 'little'), data[12:]
def number(b, i):
    v = s = 0
    while True:
        c = b[i]; i += 1
        v |= (c & 127) << s; s += 7
        if c < 128: return v, i
def bytes_of(v):
    out = b''
    while v > 127: out += bytes([v & 127 | 128]); v >>= 7
    return out + bytes([v])
tag, i = number(msg, 0)
n, i = number(msg, i)
body, out, seen, i = msg[i:i + n], b'', 0, 0
while i < n:
    start = i
    tag, i = number(body, i)
    if tag & 7 == 0:
        v, i = number(body, i)
        if tag >> 3 == 6:
            if str(seen) == word: v = change(v)
            seen += 1
        elif tag >> 3 == 8 and word == "state": v = change(v)
        elif tag >> 3 == 1 and word == "vendor": v = bit
        out += bytes_of(tag) + bytes_of(v)
    else:
        l, i = number(body, i)
        i += l
        out += body[start:i]
new = bytes([10]) + bytes_of(len(out)) + out
open(path, 'wb').write(head + len(new).to_bytes(4, 'little') + new)
