#!/bin/bash
# SPDX-License-Identifier: MIT
# cpuinfo.img and --cpu-cap: written when asked for, compared before anything is made, what is missing is named.
set -u
. tests/lib.sh
prog=$BUILD/programs/core/fpu
img=$DIR/img feature= bit=

# lift WORD BIT FILE: sets a bit of the word-th number of field 6 (capability); fails when it takes no fifth byte less
lift() {
	python3 - "$@" <<'PY'
import sys
word, bit, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
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
            if seen == word: v |= 1 << bit
            seen += 1
        out += bytes_of(tag) + bytes_of(v)
    else:
        l, i = number(body, i)
        i += l
        out += body[start:i]
new = bytes([10]) + bytes_of(len(out)) + out
open(path, 'wb').write(head + len(new).to_bytes(4, 'little') + new)
PY
}
expect() { # STATUS WORDS COMMAND…: it ends with that status and says these words
	local want=$1 words=$2 got; shift 2
	"$@" >"$DIR/says" 2>&1; got=$?
	[ $got = "$want" ] || { cat "$DIR/says"; fail "status $got, not $want: $*"; }
	[ -z "$words" ] || grep -q -- "$words" "$DIR/says" || { cat "$DIR/says"; fail "it does not say '$words': $*"; }
}

mkdir -p "$img"
expect 1 "no cpuinfo.img" "$STASIS" cpuinfo check -D "$img"
expect 1 "name one of them" "$STASIS" cpuinfo -D "$img"
expect 1 "'bla' is none of" "$STASIS" cpuinfo check -D "$img" --cpu-cap=ins,bla
expect 0 "" "$STASIS" cpuinfo dump -D "$img"
expect 0 "has what" "$STASIS" cpuinfo check -D "$img"
expect 0 "has what" "$STASIS" cpuinfo check -D "$img" --cpu-cap
"$STASIS" cpuinfo dump -D "$img" && [ -s "$img/cpuinfo.img" ] || fail "no image"

# without the option there is none, with it there is; and a restore asks only for what is there
setsid "$prog" "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 10 test -e "$DIR/ready" || fail "no start"
for cap in "" --cpu-cap=none --cpu-cap=fpu --cpu-cap=^ins,^cpu; do
	# shellcheck disable=SC2086
	dump $pid --leave-running $cap || fail "dump $cap"
	[ ! -e "$img/cpuinfo.img" ] || fail "a dump with '$cap' writes cpuinfo.img"
done
dump $pid --leave-running --cpu-cap=cpu || fail "dump"
[ -s "$img/cpuinfo.img" ] || fail "no cpuinfo.img with --cpu-cap=cpu"
dump $pid --cpu-cap || fail "dump"
wait_for 5 gone $pid; wait $pid 2>/dev/null
[ -s "$img/cpuinfo.img" ] || fail "no cpuinfo.img"
command -v python3 >/dev/null || { restore --cpu-cap || fail restore; exit 0; }

cp "$img/cpuinfo.img" "$DIR/own"
# what no CPU has today: 3dnow and avx512_4vnniw are on no machine together
for try in "1 31 3dnow" "6 15 lwp" "18 2 avx512_4vnniw"; do
	read -r word bit feature <<<"$try"
	cp "$DIR/own" "$img/cpuinfo.img"; lift "$word" "$bit" "$img/cpuinfo.img"
	! cmp -s "$DIR/own" "$img/cpuinfo.img" || continue
	expect 1 "lacks .*$feature" "$STASIS" cpuinfo check -D "$img"
	expect 1 "lacks .*$feature" "$STASIS" restore -d -D "$img"
	expect 1 "lacks .*$feature" "$STASIS" restore -d -D "$img" --cpu-cap=ins
	expect 0 "has what" "$STASIS" cpuinfo check -D "$img" --cpu-cap=fpu
done
restore --cpu-cap=none || fail "restore --cpu-cap=none"
touch "$DIR/go"
result_ok
rm "$img/cpuinfo.img"
expect 1 "no cpuinfo.img" "$STASIS" restore -d -D "$img" --cpu-cap
