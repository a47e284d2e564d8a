#!/bin/bash
# SPDX-License-Identifier: MIT
# --exclude-mem: what is left out is nowhere in the images, also when the tree runs on and its memory is written from a copy; the
# program that runs on has all of it. Wrong values are refused before anything is done.
set -u
. tests/lib.sh
prog=$BUILD/programs/core/exclude_mem
read -r -a opts <tests/programs/exclude_mem.dump
secret="do-not-keep-this" kept="but-keep-this-one"
begin() {
	rm -rf "$DIR/work"; mkdir "$DIR/work"
	setsid "$prog" "$DIR/work" </dev/null >"$DIR/out" 2>&1 & pid=$!; track $pid
	wait_for 20 test -e "$DIR/work/ready" || { cat "$DIR/out" "$DIR/work/result"; fail "it does not get ready"; }
}
# pages of the program's own data hold the secret too: its text is no part of what is tested
count() { cat "$DIR"/img/pages-*.img | grep -aoF "$1" | wc -l; }
result() {
	touch "$DIR/work/go"
	wait_for 20 test -s "$DIR/work/result" || fail "$1: no result"
	[ "$(cat "$DIR/work/result")" = ok ] || fail "$1: $(cat "$DIR/work/result")"
}
begin
dump $pid --leave-running || fail "dump of everything"
all=$(count "$secret") keep=$(count "$kept")
[ "$all" -gt 20 ] || fail "only $all copies of the secret in images of everything"
for how in off always; do
	dump $pid --leave-running --snapshot $how "${opts[@]}" || fail "dump with --snapshot $how"
	n=$(count "$secret")
	# the variable itself, in each of the two processes
	[ "$n" -le 2 ] || fail "--snapshot $how: the secret is $n times in the images"
	[ "$(count "$kept")" = "$keep" ] || fail "--snapshot $how: $(count "$kept") pages to be kept, not $keep"
	grep -q "is left out (--exclude-mem" "$DIR/img/dump.log" || fail "the log does not say so"
done
dump $pid --leave-running --exclude-mem "/nowhere/*" || fail "dump that leaves out nothing"
grep -q "exclude-mem /nowhere/\*: the tree has no such memory" "$DIR/img/dump.log" || fail "no warning that nothing was meant"
for bad in heap 1000-1000 1001-2000 "x:1000-2000" 1000; do
	"$STASIS" dump -t $pid -D "$DIR/img" -R --exclude-mem "$bad" 2>"$DIR/said" && fail "--exclude-mem $bad is accepted"
	grep -q -- "--exclude-mem $bad: " "$DIR/said" || { cat "$DIR/said"; fail "the message about $bad"; }
done
# addresses of one process only: the other has them
child=$(cat /proc/$pid/task/$pid/children); child=${child% }
dump $pid --leave-running --exclude-mem "$child:300000001000-300000003000" || fail "dump of one process without a range"
[ "$(count "$secret")" -lt "$all" ] || [ "$(grep -c "is left out" "$DIR/img/dump.log")" = 1 ] || fail "a range of pid $child"
touch "$DIR/work/intact"
result "the program that ran on"
wait_for 5 gone $pid

begin
dump $pid --leave-running --snapshot always "${opts[@]}" || fail "dump"
kill -KILL $pid $(cat /proc/$pid/task/$pid/children); wait $pid 2>/dev/null
restore || fail "restore"
result "the restored program"
