#!/bin/bash
# SPDX-License-Identifier: MIT
# exchange.sh PROGRAM DIRECTION [SOURCE]: a self-checking program goes from one engine to the other.
#   DIRECTION  from-criu  dumped by CRIU, restored by stasis
#              to-criu    dumped by stasis, restored by CRIU
#              criu       CRIU alone: can it take this program at all?
# CRIU: the program (default criu); CRIU_OPTS: options for both its commands; KEEP: directory for the images of failures.
# A program that CRIU alone cannot take through dump and restore is skipped, with CRIU's message.  The protocol of the programs is that of tests/prog.sh.
set -u
. "$(dirname "$0")/../lib.sh"
prog=$1 way=$2 src=${3:-}
CRIU=${CRIU:-criu}
read -r -a copts <<<"${CRIU_OPTS:---shell-job}"
dopts=() ropts=()
[ ! -e "$src.dump" ] || read -r -a dopts < "$src.dump"
[ ! -e "$src.restore" ] || read -r -a ropts < "$src.restore"
command -v "$CRIU" >/dev/null || skip "no $CRIU here"
# CRIU gets those of the program's own options that it has too
help=$("$CRIU" --help 2>&1)
for o in "${dopts[@]}" "${ropts[@]}"; do
	case " ${copts[*]} " in *" $o "*) continue;; esac
	[ "${o#--}" = "$o" ] || ! grep -qw -e "$o" <<<"$help" || copts+=("$o")
done

start() { # DIRECTORY; leaves the program's pid in $pid
	work=$1; mkdir -p "$work"; cd "$work" || exit 1
	setsid "$prog" "$work" </dev/null >"$work.out" 2>&1 &
	pid=$!; track $pid
	if ! wait_for 60 test -e "$work/ready"; then
		[ ! -e "$work/result" ] || { read -r r < "$work/result"; case $r in SKIP*) skip "${r#SKIP }";; esac; }
		cat "$work.out"; fail "the program did not get ready"
	fi
}
criu_dump() {
	rm -rf "$DIR/img"; mkdir "$DIR/img"
	"$CRIU" dump -t "$pid" -D "$DIR/img" -o dump.log -v4 "${copts[@]}" >"$DIR/criu.out" 2>&1
}
criu_restore() {
	rm -f "$DIR/criu.pid"
	"$CRIU" restore -d -D "$DIR/img" -o restore.log -v4 --pidfile "$DIR/criu.pid" "${copts[@]}" >"$DIR/criu.out" 2>&1 &&
		RESTORED=$(cat "$DIR/criu.pid") && track "$RESTORED"
}
errors() { grep -a -E 'Error|Warn' "$DIR/img/$1" | grep -a -v -E 'FAILED|signal 9: Killed' | tail -n "${2:-1}"; }
finish() { # 0: the program is content
	touch "$work/go"
	wait_for 60 test -s "$work/result" || { cat "$work.out"; r="no result (state $(awk '/State/{print $2}' /proc/$1/status 2>/dev/null))"; return 1; }
	read -r r < "$work/result"
	[ "$r" = ok ]
}
gone_now() { wait_for 10 gone "$pid" || fail "the program still runs after the dump"; wait "$pid" 2>/dev/null; }

alone() { # leaves in $got how far it came
	got=nothing
	start "$DIR/alone"
	criu_dump || { r=$(errors dump.log); return 1; }
	gone_now
	criu_restore || { r=$(errors restore.log); return 1; }
	got=restored
	finish "$RESTORED"
}
# verdict HOW-FAR WHY: a failure, unless CRIU alone comes no farther with this program
verdict() {
	[ -z "${KEEP:-}" ] || cp -a "$DIR/img" "$KEEP/$way-$(basename "$prog")"
	cleanup; PIDS=()
	if ! alone && { [ "$1" = restored ] || [ "$got" = nothing ]; }; then skip "CRIU alone fails too: $r"; fi
	fail "$2"
}

case $way in
from-criu)
	start "$DIR/work"
	criu_dump || skip "CRIU does not dump it: $(errors dump.log)"
	gone_now
	restore --shell-job "${ropts[@]}" || verdict nothing "restore of CRIU's images"
	finish "$RESTORED" || verdict restored "from CRIU's images: $r";;
to-criu)
	start "$DIR/work"
	dump "$pid" --compat-images "${dopts[@]}" || fail "dump"
	gone_now
	criu_restore || verdict nothing "CRIU with stasis' images: $(errors restore.log 12) $(cat "$DIR/criu.out")"
	finish "$RESTORED" || verdict restored "restored by CRIU: $r";;
criu)	alone || fail "$r";;
*)	echo "usage: exchange.sh PROGRAM from-criu|to-criu|criu [SOURCE]"; exit 2;;
esac
exit 0
