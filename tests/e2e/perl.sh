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
	open my $f, ">", "beat.new"; print $f "$n\n"; close $f; rename "beat.new", "beat";
	select undef, undef, undef, 0.01;
}
for (1 .. $n) { die "seen $_" if length $seen{$_} != $_ % 100; }
close $qw; waitpid $child, 0;
open my $f, ">", "result"; print $f $? == 5 << 8 && $alarms > 0 ? "ok\n" : "status $?, alarms $alarms\n";
EOF
setsid /usr/bin/perl "$DIR/prog.pl" "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 10 all_beyond 5 0 || { cat "$DIR/out"; fail "it does not start"; }
ten_rounds 120
touch "$DIR/go"
result_ok
