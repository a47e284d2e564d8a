#!/bin/bash
# SPDX-License-Identifier: MIT
# Pages that tasks share since a fork are stored once: the images of a family are about as large as its memory; with
# --compat-images each task has its own. Both restore, and the shared pages are shared again.
set -u
. tests/lib.sh
prog=$BUILD/programs/core/cow_family
command -v sleep >/dev/null || skip "there is no sleep"
pages_kib() { du -ck "$DIR"/img/pages-*.img | tail -n 1 | cut -f1; }
pss_kib() { # of the tree below PID
	local p
	for p in $(descendants "$1"); do sed -n 's/^Pss: *\([0-9]*\) kB/\1/p' /proc/"$p"/smaps_rollup; done |
		awk '{s += $1} END {print s}'
}
for how in "" --compat-images --leave-running; do
	work=$DIR/work$how; mkdir -p "$work"
	setsid "$prog" "$work" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 20 test -e "$work/ready" || fail "the program does not get ready"
	if [ "$how" = --leave-running ]; then
		dump $pid --leave-running --snapshot always || fail "dump"
		kill -KILL $(descendants $pid)
	else
		dump $pid $how || fail "dump"
	fi
	wait $pid 2>/dev/null
	kib=$(pages_kib)
	say "images ($how): $kib KiB of pages"
	# 16 MiB, 7 of 8 pages not zero, and what each changed; five tasks
	if [ "$how" = --compat-images ]; then
		[ "$kib" -gt 50000 ] || fail "the tasks do not have their own pages"
	else
		[ "$kib" -lt 24000 ] || fail "shared pages are stored more than once"
	fi
	restore || fail "restore"
	pss=$(pss_kib $RESTORED)
	say "memory: $pss KiB"
	touch "$work/go"
	wait_for 20 test -s "$work/result" || fail "the program gives no result"
	[ "$(cat "$work/result")" = ok ] || fail "$(cat "$work/result")"
done
