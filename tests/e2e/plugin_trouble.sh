#!/bin/bash
# SPDX-License-Identifier: MIT
# A plugin that crashes, misuses a service, fails without a reason or wants what the engine does not have: the tree goes
# on, or does not come to life, the message names the plugin and the place, and nothing is left.
set -u
. tests/lib.sh
ulimit -c 0
cc=${CC:-cc}; command -v $cc >/dev/null || cc=gcc
command -v $cc >/dev/null || skip "there is no compiler"
build() { mkdir -p "$DIR/$1"; $cc -std=gnu11 -O1 -Wno-unused-parameter -fPIC -shared -fvisibility=hidden -Iinclude $2 -o "$DIR/$1/odd.so" tests/e2e/odd/odd.c || fail "it does not compile"; }
build odd ""; build net -DODD_CONTEXT=CR_CTX_NET; build new -DODD_CONTEXT=77
chmod -R go-w "$DIR"
dirs() { P=(--plugin-dir "$DIR/$1"); ! ls "$BUILD"/plugins/*.so >/dev/null 2>&1 || P+=(--plugin-dir "$BUILD/plugins"); }

for c in "net:task's network namespace" "new:context 77"; do
	dirs ${c%%:*}
	"$STASIS" plugins "${P[@]}" >"$DIR/out" 2>&1
	grep -q "kind of file odd .*${c#*:}.*use a newer one" "$DIR/out" || fail "context ${c%%:*} is not refused: $(grep -A3 '^odd' "$DIR/out")"
done

echo x >"$DIR/odd-file"
dirs odd
start() { setsid sleep 1000 <"$DIR/odd-file" >/dev/null 2>&1 & pid=$!; track $pid; wait_for 5 grep -q sleep /proc/$pid/comm || fail "no target"; }
# journals of nobody else
mkdir -p /run/stasis && mount -t tmpfs -o mode=700 tmpfs /run/stasis || skip "/run/stasis cannot be covered"
leftovers() { ls -A /run/stasis 2>/dev/null | grep -v '^\.'; }
no_more() { [ -z "$(leftovers)" ]; }
at_large() { grep -q '^TracerPid:[[:space:]]0$' /proc/$1/status && grep -q '^State:[[:space:]]S' /proc/$1/status; }

odd() { # WHAT TEXT COMMAND…: it fails and says so
	local what=$1 text=$2; shift 2
	"$@" "${P[@]}" --odd "$what" -o "$DIR/log" >"$DIR/out" 2>&1 && fail "$what: it succeeds"
	grep -q "$text" "$DIR/out" "$DIR/log" || fail "$what: no message '$text': $(cat "$DIR/out" "$DIR/log")"
}
start
for c in "crash-check:(odd): the engine crashes: SIGSEGV.*hook check of a file" "crash-dump:(odd): the engine crashes: SIGSEGV.*hook dump of a file" \
	"silent:plugin odd failed without a reason" "misuse:plugin odd called file_need() in its hook dump of a file"; do
	mkdir "$DIR/i"
	# a build with sanitizers tells crashes by itself
	[ "$(nm "$STASIS" 2>/dev/null | grep -c __asan_init)" = 0 ] || case $c in crash*) c="${c%%:*}:SEGV";; misuse*) c="misuse:file_need() in its hook";; esac
	odd "${c%%:*}" "${c#*:}" "$STASIS" dump -t $pid -D "$DIR/i" --leave-running
	wait_for 5 at_large $pid || fail "${c%%:*}: the target is harmed: $(grep -E 'State|Tracer' /proc/$pid/status)"
	wait_for 5 no_more || fail "${c%%:*}: left behind: $(leftovers)"
	rm -rf "$DIR/i"
done
mkdir "$DIR/i"
odd refuse-task "task $pid is odd.*another --odd" "$STASIS" dump -t $pid -D "$DIR/i" --leave-running
"$STASIS" check --pid $pid "${P[@]}" --odd refuse-task >"$DIR/out" 2>&1 && fail "check --pid does not refuse an odd task"
grep -q "task $pid is odd" "$DIR/out" || fail "check --pid: $(cat "$DIR/out")"
wait_for 5 at_large $pid || fail "refuse-task: the target is harmed"
rm -rf "$DIR/i"

mkdir -p "$DIR/img"
"$STASIS" dump -t $pid -D "$DIR/img" "${P[@]}" -o "$DIR/log" || fail "dump: $(cat "$DIR/log")"
wait_for 5 gone $pid; wait $pid 2>/dev/null
for c in crash-open crash-restored; do
	want="(odd): the engine crashes: SIGSEGV"; [ "$(nm "$STASIS" 2>/dev/null | grep -c __asan_init)" = 0 ] || want=SEGV
	odd $c "$want" "$STASIS" restore -d -D "$DIR/img"
	wait_for 5 gone $pid || fail "$c: the restored task lives"
	wait_for 5 no_more || fail "$c: left behind: $(leftovers)"
done
"$STASIS" restore -d -D "$DIR/img" "${P[@]}" -o "$DIR/log" || fail "restore: $(cat "$DIR/log")"
track $pid
alive $pid || fail "it does not live after the restore"

# a state of each task: kept at the dump, made again by the task itself
start
mkdir "$DIR/img2" "$DIR/marks"
"$STASIS" dump -t $pid -D "$DIR/img2" "${P[@]}" --odd-mark "$DIR/marks" -o "$DIR/log" || fail "dump with a state: $(cat "$DIR/log")"
wait_for 5 gone $pid; wait $pid 2>/dev/null
[ -s "$DIR/img2/x-odd-mark-$pid.img" ] || fail "no image of the state: $(ls "$DIR/img2")"
"$STASIS" restore -d -D "$DIR/img2" "${P[@]}" --odd-mark "$DIR/marks" -o "$DIR/log" || fail "restore with a state: $(cat "$DIR/log")"
track $pid
[ -d "$DIR/marks/$pid" ] || fail "the restored task made no mark"
