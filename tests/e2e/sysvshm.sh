#!/bin/bash
# SPDX-License-Identifier: MIT
# System V segments whose id or key somebody has taken meanwhile, and one that others have attached: refused by name, and nothing is left behind.
set -u
# an IPC namespace of our own: ids and keys are nobody else's
[ -n "${OWN_IPC:-}" ] || OWN_IPC=1 exec unshare -i bash "$0"
. tests/lib.sh
echo 100 >/proc/sys/kernel/shm_next_id 2>/dev/null || skip "ids of segments cannot be chosen here"
prog=$BUILD/programs/sysvshm/sysvshm

segments() { awk 'NR > 1' /proc/sysvipc/shm | wc -l; }
start() {
	rm -rf "$DIR/work"; mkdir "$DIR/work"
	setsid "$prog" "$DIR/work" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 20 test -e "$DIR/work/ready" || { cat "$DIR/out" "$DIR/work/result"; fail "no start"; }
}
refused() { # WORDS
	"$STASIS" restore -d -D "$DIR/img" >"$DIR/says" 2>&1 && fail "it restores although $1"
	grep -q "$1" "$DIR/says" || { cat "$DIR/says"; fail "it does not say: $1"; }
}
start
id=$(awk 'NR > 1 && $1 != 0 { print $2; exit }' /proc/sysvipc/shm) key=$(awk 'NR > 1 && $1 != 0 { print $1; exit }' /proc/sysvipc/shm)
perl -e 'shmget(0, 0, 0); 1' 2>/dev/null || skip "perl is not installed"

# attached by somebody else
perl -e 'my ($id, $f) = @ARGV; syscall(30, int($id), 0, 0); open(F, ">", $f); close F; sleep 60' "$id" "$DIR/attached" &
other=$!; track $other
wait_for 10 test -e "$DIR/attached" || fail "the other one does not start"
! "$STASIS" dump -t "$pid" -D "$DIR/img" >"$DIR/says" 2>&1 || fail "dumped although others have the segment"
grep -q "attached 1 times by processes outside" "$DIR/says" || { cat "$DIR/says"; fail "it does not say why"; }
kill -KILL $other; wait $other 2>/dev/null
dump "$pid" || fail dump
wait_for 5 gone "$pid"; wait "$pid" 2>/dev/null

# the segment that stayed is used; the marked one, which went, is made anew. Its id is taken: nothing is left of a restore.
n=$(segments)
ipcrm -m "$id"
echo "$id" >/proc/sys/kernel/shm_next_id
new=$(ipcmk -M 12345 -p 600 | awk '{ print $NF }')
[ "$new" = "$id" ] || fail "a segment with id $new, not $id"
refused "belongs to another System V segment"
ipcrm -m "$new"
perl -e 'my $id = shmget(int($ARGV[0]), 77, 01600); die $! unless defined $id' -- "$key" || fail "no segment with that key"
refused "key .* belongs to another"
[ "$(segments)" = "$n" ] || { cat /proc/sysvipc/shm; fail "a failed restore left segments: there were $n"; }
ipcrm -M "$key"
restore || fail restore
touch "$DIR/work/go"
wait_for 20 test -s "$DIR/work/result" || fail "no result"
[ "$(cat "$DIR/work/result")" = ok ] || fail "$(cat "$DIR/work/result")"
