#!/bin/bash
# SPDX-License-Identifier: MIT
# What the files plugin refuses, what it says then, and that a refused or failed run leaves nothing behind.
set -u
. tests/lib.sh
work=$DIR/work

start() { # PROGRAM
	rm -rf "$work"; mkdir -p "$work"
	setsid "$BUILD/programs/files/$1" "$work" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 10 test -e "$work/ready" || { cat "$DIR/out"; fail "$1 did not get ready"; }
}
says() { grep -qF -- "$1" "$DIR/err" || fail "the message lacks '$1': $(cat "$DIR/err")"; }
refused() { "$@" >"$DIR/err" 2>&1 && fail "accepted: $*"; return 0; }
finish() {
	touch "$work/go"
	wait_for 10 test -s "$work/result" || fail "the program gives no result"
	[ "$(cat "$work/result")" = ok ] || fail "$(cat "$work/result")"
}

# deleted files over the limit: all are named, and the tree runs on
start ghost
refused dump $pid --ghost-limit 4
says "--ghost-limit"; says "$work/same"; says "$work/sparse"
alive $pid || fail "the program died of a dump that was refused"

# restore: a missing file, a changed size, a changed mode, and again when all is as it was
dump $pid --ghost-limit 64K || fail "dump"
wait $pid 2>/dev/null
before=$(ls -A "$work")
mv "$work/taken" "$DIR/aside"
refused restore; says "$work/taken"; says "missing"
[ "$(ls -A "$work")" = "$(grep -v taken <<<"$before")" ] || fail "a failed restore left: $(ls -A "$work")"
cp "$DIR/aside" "$work/taken"; echo >>"$work/taken"
refused restore; says "has 10 bytes and had 9"; says "--file-validation"
cp "$DIR/aside" "$work/taken"; chmod 600 "$work/taken"
refused restore; says "mode 0600 and had 0640"; says "--skip-file-rwx-check"
chmod 640 "$work/taken"
truncate -s -3 "$DIR/img/ghost-file-1.img"
refused restore
[ "$(ls -A "$work")" = "$before" ] || fail "a failed restore left: $(ls -A "$work")"

# without the option no link is made
start linkremap
refused dump $pid
says "--link-remap"
ls "$work" | grep -q link_remap && fail "a refused dump made a link"
dump $pid --link-remap --leave-running || fail "dump"
links=$(ls "$work" | grep -c link_remap)
[ "$links" = 1 ] || fail "$links links instead of 1 for a tree that was left running"
rm "$work"/link_remap.*
dump $pid --link-remap || fail "dump"
wait $pid 2>/dev/null
"$STASIS" restore -D "$DIR/img" -o explain.log --explain >"$DIR/plan" 2>&1 || fail "restore --explain"
ls "$work" | grep -q link_remap || fail "--explain removed the link that the images need"
restore || fail "restore"
finish
