#!/bin/bash
# SPDX-License-Identifier: MIT
# --leave-running with memory written after the thaw: a program changes all its memory all the time; the image shows it
# at one instant, restored beside it in a pid namespace of its own; the program notices nothing. Then the same with
# the engine killed at any time, and with the warden killed when the program runs again.
set -u
. tests/lib.sh
prog=$BUILD/programs/core/mutate
no_children() { [ -z "$(cat /proc/"$1"/task/*/children)" ]; }
restored_well() {
	local here=$DIR/other
	mkdir -p "$here"
	# the restored one finds its directory under the same name
	timeout 60 unshare -m -p -f --mount-proc --kill-child bash -c '
		mount --bind "$1" "$2" && touch "$2/go" && cd / &&
		"$3" restore -D "$4" -o restore.log -v4 && cat "$2/result"' x "$here" "$work" "$STASIS" "$DIR/img" >"$DIR/said"
	[ "$(cat "$DIR/said")" != ok ] || return 0
	tail -n 20 "$DIR/img/restore.log"
	fail "$1: $(cat "$DIR/said")"
}
for how in always off; do
	[ $how = off ] && rounds=1 || rounds=2
	work=$DIR/work-$how; mkdir -p "$work"
	setsid "$prog" "$work" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 20 test -e "$work/ready" || fail "the program does not get ready"
	for ((round = 1; round <= rounds; round++)); do
		dump $pid --leave-running --snapshot $how || fail "dump"
		[ $how = off ] || grep -q "the copy of its memory" "$DIR/img/dump.log" || fail "no copy was made"
		no_children $pid || fail "something is left of the copy"
		mkdir -p "$DIR/other"; cp "$work/file" "$DIR/other/file"
		rm -f "$DIR/other/"{go,result}
		restored_well "$how, round $round"
	done
	# the engine is killed at any time, the warden when the tree runs
	for ((i = 0; i < 6 * rounds; i++)); do
		rm -rf "$DIR/img"; mkdir "$DIR/img"
		"$STASIS" dump -t $pid --leave-running --snapshot $how -D "$DIR/img" -o dump.log -v4 2>"$DIR/err" &
		engine=$! warden=
		if [ $((i % 3)) = 2 ]; then
			until grep -q thawed "$DIR/img/dump.log" 2>/dev/null || ! alive $engine; do :; done
			warden=$(sed -n 's/.*warden: pid //p' "$DIR/img/dump.log")
			kill -KILL "$warden" 2>/dev/null
		else
			sleep 0.0$((i * 7 % 90 + 10))
			kill -KILL $engine 2>/dev/null
		fi
		wait $engine 2>/dev/null
		alive $pid || fail "the program died"
		wait_for 10 grep -q "^TracerPid:.0$" /proc/$pid/status || fail "the program is still traced"
		[ -z "$warden" ] || "$STASIS" recover >"$DIR/recovered" || fail "recover: $(cat "$DIR/recovered")"
		wait_for 10 no_children $pid || fail "something is left of the copy"
	done
	touch "$work/go"
	wait_for 20 test -s "$work/result" || fail "the program gives no result"
	read -r r <"$work/result"
	[ "$r" = ok ] || fail "$r"
done
