#!/bin/bash
# SPDX-License-Identifier: MIT
# The engine writes the pages of restored tasks; where that fails, at the beginning or halfway, they read them themselves.
# Either way the program finds its memory and its protections as they were.
set -u
. tests/lib.sh
for prog in protections cow_family; do
	for how in engine "opening /proc/[0-9]*/mem" "write of memory"; do
		work=$DIR/$prog-${how%% *}; mkdir -p "$work"
		setsid "$BUILD/programs/core/$prog" "$work" </dev/null >"$DIR/out" 2>&1 &
		pid=$!; track $pid
		wait_for 20 test -e "$work/ready" || fail "the program does not get ready"
		dump $pid || fail "dump"
		wait $pid 2>/dev/null
		fault=()
		if [ "$how" != engine ]; then
			# which step it is does not depend on whether it is listed
			"$STASIS" restore -d -D "$DIR/img" -o list.log --pidfile "$DIR/list.pid" --fault list >"$DIR/list" || fail "--fault list"
			list=$(cat "$DIR/list.pid"); kill -KILL $(descendants "$list")
			wait_for 20 gone "$list" || fail "the first tree does not end"
			n=$(grep "^engine .*$how\$" "$DIR/list" | tail -n 1 | cut -d ' ' -f 2)
			[ -n "$n" ] || fail "no step is called $how"
			fault=(--fault "engine:$n")
		fi
		restore ${fault[@]+"${fault[@]}"} || fail "restore ($how)"
		if [ "$how" = engine ]; then
			! grep "reads its pages itself" "$DIR/img/restore.log" || fail "the engine writes no pages"
		else
			grep -q "reads its pages itself" "$DIR/img/restore.log" || fail "$how: the fault is not noticed"
		fi
		touch "$work/go"
		wait_for 20 test -s "$work/result" || fail "the program gives no result"
		[ "$(cat "$work/result")" = ok ] || fail "$prog, $how: $(cat "$work/result")"
		say "$prog, $how: ok"
	done
done
