#!/bin/bash
# SPDX-License-Identifier: MIT
# An empty plugin directory: a task without descriptors can be dumped and restored; of another one the refusal names every
# object that nobody claims, and the task goes on.
set -u
. tests/lib.sh
ls "$BUILD"/plugins/*.so >/dev/null 2>&1 || skip "the plugins are built in"
mkdir -p "$DIR/none" "$DIR/work"
start() {
	rm -f "$DIR"/work/*
	setsid "$BUILD/programs/core/$1" "$DIR/work" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 10 test -e "$DIR/work/ready" || fail "$1 does not start"
}
ends() {
	touch "$DIR/work/go"
	wait_for 20 test -s "$DIR/work/result" || fail "no result"
	[ "$(cat "$DIR/work/result")" = ok ] || fail "$(cat "$DIR/work/result")"
}

start share_files
dump $pid --plugin-dir "$DIR/none" 2>"$DIR/err" >/dev/null && fail "dumped without a plugin that could do it"
# (descriptors 100 and 101 are the same open file as 3, and 2 as 1: each is named once)
for object in "pid $pid fd 0 /dev/null" "pid $pid fd 1 $DIR/out" "pid $pid fd 3 /dev/zero"; do
	grep -qF -- "$object" "$DIR/err" || fail "'$object' is not named: $(cat "$DIR/err")"
done
alive $pid || fail "it died of a refused dump"
ends

start no_files
dump $pid --plugin-dir "$DIR/none" || fail "dump without a plugin"
wait_for 5 gone $pid; wait $pid 2>/dev/null
restore --plugin-dir "$DIR/none" || fail "restore without a plugin"
ends
