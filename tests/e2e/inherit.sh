#!/bin/bash
# SPDX-License-Identifier: MIT
# Files kept out of the images with --external, files, logs and pipes passed in with --inherit-fd.
set -u
. tests/lib.sh
prog=$BUILD/programs/inherit/outside work=$DIR/work
mkdir -p "$work"
setsid "$prog" "$work" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 10 test -e "$work/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }

# find the descriptors by their names
for fd in /proc/$pid/fd/*; do
	case $(readlink "$fd") in
	"$work/outside") mnt=$(awk '/^mnt_id/{print $2}' "/proc/$pid/fdinfo/${fd##*/}"); ino=$(stat -L -c %i "$fd");;
	pipe:*) pipe=$(readlink "$fd");;
	esac
done
key=$(printf 'file[%x:%x]' "$mnt" "$ino")

"$STASIS" dump -t $pid -D "$DIR" -o bad.log --external "file[$mnt" 2>"$DIR/err" && fail "a misspelt key was accepted"
grep -q 'hexadecimal' "$DIR/err" || fail "the message does not explain the key: $(cat "$DIR/err")"
alive $pid || fail "the program died of a dump that was refused"

dump $pid --external "$key" || fail "dump"
wait $pid 2>/dev/null
rm "$work/outside"

restore 2>"$DIR/err" >"$DIR/restore.out" && fail "an external file was restored from nothing"
grep -qF -- "--inherit-fd fd[N]:$key" "$DIR/err" || fail "the message does not name the key: $(cat "$DIR/err")"
restore --inherit-fd "fd[99]:$key" 2>"$DIR/err" >"$DIR/restore.out" && fail "a closed descriptor was accepted"
grep -q '99 is not open' "$DIR/err" || fail "the message does not name the descriptor: $(cat "$DIR/err")"

echo -n "from outside" >"$DIR/new"; cp "$DIR/new" "$work/want"
mkfifo "$DIR/fifo"
exec 47<>"$DIR/new" 48>>"$DIR/newlog" 49<>"$DIR/fifo"
restore --inherit-fd "fd[47]:$key" --inherit-fd "fd[48]:${work#/}/log" --inherit-fd "fd[49]:$pipe" || fail "restore"
touch "$work/go"
wait_for 10 test -s "$work/result" || fail "the program gives no result"
[ "$(cat "$work/result")" = ok ] || fail "$(cat "$work/result")"
[ "$(cat "$DIR/newlog")" = second ] || fail "the log did not go where it was passed: $(cat "$DIR/newlog")"
[ "$(cat "$work/log")" = first ] || fail "the old log was written"
read -r -t 5 -N 5 text <&49 || fail "nothing came through the pipe"
[ "$text" = piped ] || fail "the pipe had $text"
