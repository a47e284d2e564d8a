#!/bin/bash
# SPDX-License-Identifier: MIT
# run.sh BUILD SECONDS TARGET…: runs fuzz targets of the build folder, one after the other, each with seeds from real dumps and
# real /proc text, and prints "TARGET: N inputs tried, crashes 0". An input that crashes is kept in BUILD/crashes.
set -u
build=$(realpath "$1") seconds=$2; shift 2
cd "$(dirname "$0")/../.." || exit 1
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:handle_abort=1 UBSAN_OPTIONS=print_stacktrace=1
tmp=$(mktemp -d /tmp/stasis-fuzz.XXXXXX)
pid=
trap '[ -z "$pid" ] || kill -KILL $pid 2>/dev/null; rm -rf "$tmp"' EXIT

# a small tree with descriptors of several kinds, dumped by the build of the tests
images() {
	[ ! -e "$tmp/img" ] || return 0
	mkdir "$tmp/img" "$tmp/work"
	setsid python3 tests/fuzz/target.py "$tmp/work" </dev/null >"$tmp/out" 2>&1 & pid=$!
	for _ in $(seq 200); do [ ! -e "$tmp/work/ready" ] || break; sleep 0.05; done
	proc_of $pid
	"$build/stasis" dump -t $pid -D "$tmp/img" -o dump.log --file-locks --ghost-limit 1M --log-level 0 2>/dev/null ||
		"$build/stasis" dump -t $pid -D "$tmp/img" -o dump.log --file-locks --ghost-limit 1M || exit 1
	wait $pid 2>/dev/null; pid=
	rm -f "$tmp/img/dump.log"
	mkdir "$tmp/images"
	local f
	for f in "$tmp"/img/*; do
		case ${f##*/} in pages-*) continue;; esac
		[ ! -f "$f" ] || { echo "${f##*/}"; cat "$f"; } >"$tmp/images/${f##*/}"
	done
}
proc_of() {
	mkdir "$tmp/proc"
	local pair fd
	for pair in s:stat u:status m:maps m:smaps l:limits t:timers; do
		{ printf '%s' "${pair%%:*}"; cat "/proc/$1/${pair#*:}"; } >"$tmp/proc/${pair#*:}" 2>/dev/null
	done
	for fd in "/proc/$1/fdinfo"/*; do { printf f; cat "$fd"; } >"$tmp/proc/fdinfo-${fd##*/}"; done
}
proc() { images; }
options() {
	mkdir "$tmp/options"
	printf 'ctcp-established\nghost-limit 1M # text\nexternal "file[1:2]"\n-v4\n--no-file-locks\n' >"$tmp/options/config"
	printf 'adump\n-t\n12\n-D\n/tmp\n--ghost-limit=3K\n-vvv\n--external\nfile[1:2]\n--cpu-cap=all\n--plugins\nfiles' >"$tmp/options/dump"
	local c
	for c in dump restore check; do # every option that there is
		{ echo "a$c"; "$build/stasis" $c --help | sed -n 's/^ *\(-., \)\? *\(--[a-z-]*\)\( \|\[\?=\)\?\([^ a-z]*\) .*/\2=\4/p' | sed 's/=$//'; } >"$tmp/options/all-$c"
	done
	printf 'arestore\n-d\n--inherit-fd\nfd[3]:pipe:[5]\n-j\n--exec-cmd\n--\n/bin/true' >"$tmp/options/restore"
}
# the plans by which those images would be restored
plan() {
	images
	mkdir "$tmp/plan"
	STASIS_FUZZ_IMAGES=$tmp/img STASIS_FUZZ_PLANS=$tmp/plan "$build/fuzz/images" >/dev/null 2>"$tmp/err" || { cat "$tmp/err"; exit 1; }
}

rc=0
# FUZZ_SLOW: seconds for one input, more where everything is slow, or is stopped now and then
mkdir -p "$build/crashes"
for t in "$@"; do
	[ "$t" != images ] || images
	[ -e "$tmp/$t" ] || "$t"
	seeds=$(find "$tmp/$t" -type f | wc -l)
	STASIS_FUZZ_IMAGES=$tmp/img "$build/fuzz/$t" -max_total_time="$seconds" -timeout="${FUZZ_SLOW:-20}" -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
		-artifact_prefix="$build/crashes/$t-" "$tmp/$t" >"$tmp/log" 2>&1
	r=$?
	n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$tmp/log")
	if [ $r = 0 ] && [ "${n:-0}" -gt 0 ]; then
		echo "$t: $seeds seeds, $n inputs tried, crashes 0"
	else
		rc=1
		tail -n 60 "$tmp/log"
		echo "$t: ${n:-?} inputs tried, exit status $r; the input is in $build/crashes"
	fi
done
exit $rc
