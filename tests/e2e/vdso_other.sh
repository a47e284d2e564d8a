#!/bin/bash
# SPDX-License-Identifier: MIT
# Images from a kernel with another vDSO: in the stored one every function is made unusable and the notes differ; the restored
# program must read the clocks through this kernel's, as fast as before, in a forked child too, and live through more rounds.
set -u
. tests/lib.sh
command -v readelf >/dev/null || skip "readelf is not installed"

# page numbers in FILE at which an ELF file of the kernel begins
vdso_offsets() { grep -obUaP '\x7fELF\x02\x01\x01' "$1" | cut -d: -f1 | while read -r o; do [ $((o % 4096)) != 0 ] || echo "$o"; done; }

spoil() { # FILE: every vDSO in it
	local off at size name k=0
	for off in $(vdso_offsets "$1"); do
		dd if="$1" of="$DIR/vdso.so" bs=4096 skip=$((off / 4096)) count=4 status=none
		readelf -W --dyn-syms "$DIR/vdso.so" 2>/dev/null | awk '$8 ~ /^__vdso_/ && $4 == "FUNC" { print "0x" $2, $3, $8 }' >"$DIR/funcs"
		# one that has been replaced already is memory of the program, and leads to the one that counts
		read -r at size name <"$DIR/funcs"
		[ "$(od -An -tx1 -j $((at)) -N 1 "$DIR/vdso.so")" != " e9" ] || continue
		while read -r at size name; do
			# all of a function becomes traps: whoever runs it dies
			head -c "$((size))" /dev/zero | tr '\0' '\314' | dd of="$1" bs=1 seek=$((off + at)) conv=notrunc status=none
			k=$((k + 1))
		done <"$DIR/funcs"
	done
	[ $k -gt 3 ] || fail "no vDSO found in $1"
}

run() { # PROGRAM
	local round
	rm -rf "$DIR/work"; mkdir "$DIR/work"
	setsid "$BUILD/programs/core/$1" "$DIR/work" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 20 test -e "$DIR/work/ready" || { cat "$DIR/out"; fail "$1: no start"; }
	for round in 1 2 3; do
		dump "$pid" || fail "$1: dump, round $round"
		wait_for 5 gone "$pid"; wait "$pid" 2>/dev/null
		for f in "$DIR"/img/pages-*.img; do
			[ $round = 2 ] || [ -z "$(vdso_offsets "$f")" ] || spoil "$f"
		done
		restore || fail "$1: restore, round $round"
		[ $round = 2 ] || grep -q "another kernel's" "$DIR/img/restore.log" || fail "$1: it was not another vDSO"
		pid=$RESTORED
	done
	touch "$DIR/work/go"
	wait_for 20 test -s "$DIR/work/result" || { cat "$DIR/out"; fail "$1: no result"; }
	[ "$(cat "$DIR/work/result")" = ok ] || fail "$1: $(cat "$DIR/work/result")"
}
run vdso
run cow
run posix_timers
