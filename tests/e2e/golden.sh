#!/bin/bash
# SPDX-License-Identifier: MIT
# Images of three small programs (golden/targets.py), decoded by crit: the fields that the well-known format has are there,
# with the values that the programs have set; and they restore.
set -u
. tests/lib.sh
command -v crit >/dev/null || skip "crit is not installed"
[ -x /usr/bin/python3 ] || skip "python3 is not installed"
here=$PWD/tests/e2e/golden
for case in tasks files mem; do
	mkdir -p "$DIR/$case"
	setsid /usr/bin/python3 "$here/targets.py" $case "$DIR/$case" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 10 test -e "$DIR/$case/ready" || { cat "$DIR/out"; fail "$case: the program does not start"; }
	dump $pid || fail "$case: dump"
	wait_for 5 gone $pid; wait $pid 2>/dev/null
	rm -rf "$DIR/json"; mkdir "$DIR/json"
	for f in "$DIR"/img/*.img "$DIR/img/stats-dump"; do
		name=${f##*/}
		case $name in pages-*|x-*) continue;; esac
		crit show "$f" >"$DIR/json/${name%.img}.json" || fail "$case: crit cannot read $name"
	done
	/usr/bin/python3 "$here/compare.py" "$here/$case.expect" "$DIR/json" || fail "$case: fields are missing"
	restore || fail "$case: restore"
	alive $pid || fail "$case: it died after the restore"
	for p in $(descendants $pid); do kill -KILL $p; done
	wait_for 5 gone $pid
done
