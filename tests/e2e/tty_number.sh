#!/bin/bash
# SPDX-License-Identifier: MIT
# A pseudo-terminal gets its number back; when that is in use, the restore says so, or takes another with --tty-renumber.
set -u
if [ -z "${TTY_NUMBER_INNER:-}" ]; then
	# terminals of our own, so that nobody else takes numbers
	TTY_NUMBER_INNER=1 exec unshare -m bash "$0"
fi
. tests/lib.sh
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts /dev/pts 2>"$DIR/err" || skip "no devpts: $(cat "$DIR/err")"
mount --bind /dev/pts/ptmx /dev/ptmx || skip "cannot mount /dev/ptmx"
prog=$BUILD/programs/tty/pair
start() { # DIRECTORY; sets pid
	mkdir -p "$1"
	setsid "$prog" "$1" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 10 test -e "$1/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
}
numbers() { readlink /proc/"$1"/fd/* | grep '^/dev/pts/[0-9]' | tr '\n' ' '; }

start "$DIR/first"; first=$pid
[ "$(numbers $first)" = "/dev/pts/0 /dev/pts/1 " ] || fail "before: $(numbers $first)"
dump $first || fail "dump"
wait $first 2>/dev/null
start "$DIR/second"; second=$pid
restore 2>"$DIR/err" >"$DIR/restore.out" && fail "two terminals with one number"
grep -q '/dev/pts/0 is in use.*--tty-renumber' "$DIR/err" || fail "the message does not help: $(cat "$DIR/err")"
alive $second || fail "the failed restore hurt another program"
restore --tty-renumber || fail "restore with another number"
[ "$(numbers "$RESTORED")" = "/dev/pts/2 /dev/pts/3 " ] || fail "renumbered: $(numbers "$RESTORED")"
kill -KILL "$RESTORED"; wait_for 5 gone "$RESTORED"
kill -KILL $second; wait $second 2>/dev/null
restore || fail "restore"
[ "$(numbers "$RESTORED")" = "/dev/pts/0 /dev/pts/1 " ] || fail "after: $(numbers "$RESTORED")"
touch "$DIR/first/go"
wait_for 10 test -s "$DIR/first/result" || fail "no result"
[ "$(cat "$DIR/first/result")" = ok ] || fail "$(cat "$DIR/first/result")"
