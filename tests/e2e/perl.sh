#!/bin/bash
# SPDX-License-Identifier: MIT
# A Perl program with a forked child at the other end of two pipes, and alarm().
set -u
. tests/lib.sh
[ -x /usr/bin/perl ] || skip "perl is not installed"
cat >"$DIR/prog.pl" <<'EOF'
use strict; use warnings; use IO::Handle;
chdir $ARGV[0] or die;
pipe(my $qr, my $qw); pipe(my $ar, my $aw);
$_->autoflush(1) for $qw, $aw;
my $child = fork;
if (!$child) {
	close $qw; close $ar;
	while (<$qr>) { chomp; print $aw $_ * $_, "\n"; }
	exit 5;
}
close $qr; close $aw;
my ($alarms, $n, %seen) = (0, 0);
$SIG{ALRM} = sub { $alarms++; alarm 1; };
alarm 1;
until (-e "go") {
	$n++; $seen{$n} = "x" x ($n % 100);
	print $qw "$n\n"; my $sq = <$ar>; chomp $sq;
	die "$n: $sq" if $sq != $n * $n;
	open my $f, ">", "count.new"; print $f "$n\n"; close $f; rename "count.new", "count";
	select undef, undef, undef, 0.01;
}
for (1 .. $n) { die "seen $_" if length $seen{$_} != $_ % 100; }
close $qw; waitpid $child, 0;
open my $f, ">", "result"; print $f $? == 5 << 8 && $alarms > 0 ? "ok\n" : "status $?, alarms $alarms\n";
EOF
setsid /usr/bin/perl "$DIR/prog.pl" "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
count() { local n; n=$(cat "$DIR/count" 2>/dev/null); echo "${n:-0}"; }
beyond() { [ "$(count)" -gt "$1" ]; }
wait_for 10 beyond 5 || { cat "$DIR/out"; fail "it does not start"; }
dump "$pid" --leave-running || fail "dump --leave-running"
alive "$pid" || fail "it died of a dump that should leave it running"
for round in 1 2 3 4 5 6 7 8 9 10; do
	dump $pid || fail "dump, round $round"
	wait_for 5 gone $pid; wait $pid 2>/dev/null
	n=$(count)
	restore || fail "restore, round $round"
	wait_for 10 beyond $((n + 120)) || { cat "$DIR/out"; fail "round $round: it does not go on"; }
done
touch "$DIR/go"
wait_for 10 test -s "$DIR/result" || { cat "$DIR/out"; fail "no result"; }
[ "$(cat "$DIR/result")" = ok ] || fail "$(cat "$DIR/result")"
