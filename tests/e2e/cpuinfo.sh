#!/bin/bash
# SPDX-License-Identifier: MIT
# cpuinfo.img and --cpu-cap: written when asked for, compared before anything is made, what is missing is named.
set -u
. tests/lib.sh
prog=$BUILD/programs/core/fpu
img=$DIR/img feature= bit=

# sets a bit of the word-th number of the features in a cpuinfo.img
lift() { python3 tests/e2e/odd/lift.py "$@"; }
expect() { # STATUS WORDS COMMAND…: it ends with that status and says these words
	local want=$1 words=$2 got; shift 2
	"$@" >"$DIR/says" 2>&1; got=$?
	[ $got = "$want" ] || { cat "$DIR/says"; fail "status $got, not $want: $*"; }
	[ -z "$words" ] || grep -q -- "$words" "$DIR/says" || { cat "$DIR/says"; fail "it does not say '$words': $*"; }
}

mkdir -p "$img"
expect 1 "no cpuinfo.img" "$STASIS" cpuinfo check -D "$img"
expect 1 "name one of them" "$STASIS" cpuinfo -D "$img"
expect 1 "'bla' is none of" "$STASIS" cpuinfo check -D "$img" --cpu-cap=ins,bla
expect 0 "" "$STASIS" cpuinfo dump -D "$img"
expect 0 "has what" "$STASIS" cpuinfo check -D "$img"
expect 0 "has what" "$STASIS" cpuinfo check -D "$img" --cpu-cap
"$STASIS" cpuinfo dump -D "$img" && [ -s "$img/cpuinfo.img" ] || fail "no image"

# without the option there is none, with it there is; and a restore asks only for what is there
setsid "$prog" "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 10 test -e "$DIR/ready" || fail "no start"
for cap in "" --cpu-cap=none --cpu-cap=fpu --cpu-cap=^ins,^cpu; do
	# shellcheck disable=SC2086
	dump $pid --leave-running $cap || fail "dump $cap"
	[ ! -e "$img/cpuinfo.img" ] || fail "a dump with '$cap' writes cpuinfo.img"
done
dump $pid --leave-running --cpu-cap=cpu || fail "dump"
[ -s "$img/cpuinfo.img" ] || fail "no cpuinfo.img with --cpu-cap=cpu"
dump $pid --cpu-cap || fail "dump"
wait_for 5 gone $pid; wait $pid 2>/dev/null
[ -s "$img/cpuinfo.img" ] || fail "no cpuinfo.img"
command -v python3 >/dev/null || { restore --cpu-cap || fail restore; exit 0; }

cp "$img/cpuinfo.img" "$DIR/own"
# what no CPU has today: 3dnow and avx512_4vnniw are on no machine together
for try in "1 31 3dnow" "6 15 lwp" "18 2 avx512_4vnniw"; do
	read -r word bit feature <<<"$try"
	cp "$DIR/own" "$img/cpuinfo.img"; lift "$word" "$bit" "$img/cpuinfo.img"
	! cmp -s "$DIR/own" "$img/cpuinfo.img" || continue
	expect 1 "lacks .*$feature" "$STASIS" cpuinfo check -D "$img"
	expect 1 "lacks .*$feature" "$STASIS" restore -d -D "$img"
	expect 1 "lacks .*$feature" "$STASIS" restore -d -D "$img" --cpu-cap=ins
	expect 0 "has what" "$STASIS" cpuinfo check -D "$img" --cpu-cap=fpu
done
# a component of the extended state that no CPU has, and nothing uses: only who asks for it is told
cp "$DIR/own" "$img/cpuinfo.img"; lift state 19 "$img/cpuinfo.img"
expect 1 "lacks .*extended state of APX" "$STASIS" cpuinfo check -D "$img"
expect 1 "lacks .*extended state of APX" "$STASIS" cpuinfo check -D "$img" --cpu-cap=fpu
expect 0 "has what" "$STASIS" cpuinfo check -D "$img" --cpu-cap=ins
# images of a lesser CPU are portable: this one has more, which only --cpu-cap=cpu minds
cp "$DIR/own" "$img/cpuinfo.img"; lift 0 26 "$img/cpuinfo.img" less # sse2
! cmp -s "$DIR/own" "$img/cpuinfo.img" || fail "nothing was taken away"
for cap in "" --cpu-cap=ins --cpu-cap=ins,fpu --cpu-cap=^cpu --cpu-cap=all,^cpu; do
	# shellcheck disable=SC2086
	expect 0 "has what" "$STASIS" cpuinfo check -D "$img" $cap
done
for cap in --cpu-cap=cpu --cpu-cap --cpu-cap=all --cpu-cap=^ins; do
	expect 1 "has also .*sse2.*--cpu-cap=ins,fpu" "$STASIS" cpuinfo check -D "$img" $cap
	expect 1 "has also .*sse2.*--cpu-cap=ins,fpu" "$STASIS" restore -d -D "$img" $cap
done
# another vendor
cp "$DIR/own" "$img/cpuinfo.img"; lift vendor 0 "$img/cpuinfo.img"
expect 1 "another vendor" "$STASIS" restore -d -D "$img" --cpu-cap=cpu
expect 0 "has what" "$STASIS" cpuinfo check -D "$img"
cp "$DIR/own" "$img/cpuinfo.img"; lift 18 2 "$img/cpuinfo.img"
gone $pid || fail "a process is left"
restore --cpu-cap=none || fail "restore --cpu-cap=none"
touch "$DIR/go"
result_ok
rm "$img/cpuinfo.img"
expect 1 "no cpuinfo.img" "$STASIS" restore -d -D "$img" --cpu-cap
