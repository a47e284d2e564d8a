#!/bin/bash
# SPDX-License-Identifier: MIT
# gcc and the compiler below it, caught in the middle of a large file: the object is that of an undisturbed run.
set -u
. tests/lib.sh
command -v gcc >/dev/null || skip "gcc is not installed"
cd "$DIR" || exit 1
awk 'BEGIN {for (i = 0; i < 3000; i++)
	printf "int f%d(int a, int b) { int s = %d; for (int i = 0; i < a; i++) s += (i ^ b) * %d + (s >> 3); return s; }\n", i, i, i % 97}' >big.c
gcc -O2 -c big.c -o right.o || fail "gcc"
setsid gcc -O2 -c big.c -o big.o </dev/null >out 2>&1 &
pid=$!; track $pid
compiling() { local p; for p in $(descendants $pid); do grep -q cc1 "/proc/$p/comm" && return 0; done; return 1; }
wait_for 5 compiling || fail "the compiler does not start"
dump "$pid" --leave-running || fail "dump --leave-running"
alive "$pid" || fail "it died of a dump that should leave it running"
for round in 1 2 3 4 5 6 7 8 9 10; do
	sleep 0.2
	alive $pid || fail "the file is too small for this machine"
	dump $pid || fail "dump, round $round"
	wait_for 5 gone $pid; wait $pid 2>/dev/null
	restore || fail "restore, round $round"
done
wait_for 120 gone "$pid" || fail "it does not end"
[ ! -s out ] || { cat out; fail "gcc says something"; }
cmp right.o big.o || fail "the object differs"
