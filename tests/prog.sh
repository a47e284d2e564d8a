#!/bin/bash
# SPDX-License-Identifier: MIT
# prog.sh PROGRAM MODE: takes a self-checking program through dump and restore.
#   MODE  plain     dump (kills), restore, go on
#         running   dump --leave-running, go on
#         rounds    ROUNDS times (three, unless that is set) dump and restore, then go on
#         user      as plain, the program runs as an ordinary user
#         bare      nothing is dumped: does the program itself work?
# The program gets a directory: it sets its state, creates ready, waits for go, checks, writes result ("ok" or "FAIL why").
# Options for dump and restore: files PROGRAM.dump and PROGRAM.restore beside its source, one line each; PROGRAM.modes limits the modes.
set -u
. "$(dirname "$0")/lib.sh"
prog=$1 mode=$2 src=${3:-}
dopts=() ropts=()
[ ! -e "$src.dump" ] || read -r -a dopts < "$src.dump"
[ ! -e "$src.restore" ] || read -r -a ropts < "$src.restore"
as=()
if [ "$mode" = user ]; then
	[ "$(awk '{print $3; exit}' /proc/self/uid_map)" -gt 1000 ] || skip "this user namespace has no ordinary user"
	chmod 755 "$DIR"; as=(setpriv --reuid 1000 --regid 1000 --clear-groups)
fi
work=$DIR/work; mkdir -p "$work"; [ "$mode" != user ] || chown 1000:1000 "$work"
cd "$work" || exit 1
setsid "${as[@]}" "$prog" "$work" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
if ! wait_for 20 test -e "$work/ready"; then
	[ ! -e "$work/result" ] || { read -r r < "$work/result"; case $r in SKIP*) skip "${r#SKIP }";; esac; }
	cat "$DIR/out"; fail "the program did not get ready"
fi
n=1; [ "$mode" != rounds ] || n=${ROUNDS:-3}
[ "$mode" != bare ] || n=0
for ((i = 0; i < n; i++)); do
	if [ "$mode" = running ]; then
		dump "$pid" --leave-running "${dopts[@]}" || fail "dump"
		alive "$pid" || fail "the program died of a dump that should leave it running"
	else
		dump "$pid" "${dopts[@]}" || fail "dump (round $i)"
		wait_for 5 gone "$pid" || fail "the program still runs after the dump"
		wait "$pid" 2>/dev/null
		restore "${ropts[@]}" || fail "restore (round $i)"
		pid=$RESTORED
	fi
done
touch "$work/go"
wait_for 20 test -s "$work/result" || { cat "$DIR/out"; fail "the program gives no result (state: $(awk '/State/{print $2}' /proc/$pid/status 2>/dev/null))"; }
read -r r < "$work/result"
[ "$r" = ok ] || { cat "$DIR/out"; fail "$r"; }
