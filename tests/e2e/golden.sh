#!/bin/bash
# SPDX-License-Identifier: MIT
# Images of small programs (golden/targets.py), decoded by the tables of the well-known format (golden/decode.py): every field that
# CRIU writes for such programs is there, with the values that the programs have set; crit reads every image; and they restore.
set -u
. tests/lib.sh
command -v crit >/dev/null || skip "crit is not installed"
[ -x /usr/bin/python3 ] || skip "python3 is not installed"
here=$PWD/tests/e2e/golden
declare -A options=([files]=--file-locks [socks]=--tcp-established)
for case in tasks files mem socks; do
	mkdir -p "$DIR/$case"
	setsid /usr/bin/python3 "$here/targets.py" $case "$DIR/$case" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 10 test -e "$DIR/$case/ready" || { cat "$DIR/out"; fail "$case: the program does not start"; }
	dump $pid ${options[$case]-} || fail "$case: dump"
	wait_for 5 gone $pid; wait $pid 2>/dev/null
	rm -rf "$DIR/json"; mkdir "$DIR/json"
	/usr/bin/python3 "$here/decode.py" "$DIR/img" "$DIR/json" || fail "$case: an image is not of the format"
	/usr/bin/python3 "$here/compare.py" "$DIR/json" "$here/common.expect" "$here/$case.expect" || fail "$case: fields are missing"
	readable=()
	for f in "$DIR"/img/*.img "$DIR/img/stats-dump"; do
		case ${f##*/} in pages-*|x-*) ;; *) readable+=("$f");; esac
	done
	/usr/bin/python3 "$here/crit_all.py" "${readable[@]}" || fail "$case: crit cannot read an image"
	restore ${options[$case]-} || fail "$case: restore"
	alive $pid || fail "$case: it died after the restore"
	for p in $(descendants $pid); do kill -KILL $p; done
	wait_for 5 gone $pid
done
