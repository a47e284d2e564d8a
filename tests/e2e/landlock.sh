#!/bin/bash
# SPDX-License-Identifier: MIT
# A task in a Landlock domain is found and refused, as root and as an ordinary user; --landlock=drop restores it without; a task with
# no_new_privs alone is not taken for one.
set -u
. tests/lib.sh
command -v perl >/dev/null || skip "perl is not installed"
cat >"$DIR/prog.pl" <<'EOF2'
use strict; use warnings;
my ($how, $dir) = @ARGV;
# landlock_create_ruleset, landlock_restrict_self; handled: making of block devices
if ($how eq "domain") {
	my $attr = pack("Q", 1 << 11);
	my $fd = syscall(444, $attr, length $attr, 0);
	if ($fd < 0) { open my $f, ">", "$dir/none"; exit }
	syscall(157, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
	syscall(446, $fd, 0) == 0 or die "restrict: $!";
	open my $f, "<&=", $fd; close $f;
} else {
	syscall(157, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
}
open my $f, ">", "$dir/ready"; close $f;
sleep 1 until -e "$dir/go";
EOF2
chmod 755 "$DIR" "$DIR/prog.pl"
start() { # HOW COMMAND…
	local how=$1; shift
	rm -rf "$DIR/w"; mkdir -m 777 "$DIR/w"
	setsid "$@" perl "$DIR/prog.pl" "$how" "$DIR/w" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 10 test -e "$DIR/w/ready" -o -e "$DIR/w/none" ||
		{ cat "$DIR/out"; fail "no start"; }
	[ ! -e "$DIR/w/none" ] || skip "the kernel has no Landlock"
}
user=()
[ "$(awk '{print $3; exit}' /proc/self/uid_map)" -gt 1000 ] && user=(setpriv --reuid 1000 --regid 1000 --clear-groups)
for as in root user; do
	cmd=(env); [ $as = root ] || cmd=("${user[@]}"); [ ${#cmd[@]} -gt 0 ] || continue
	start domain "${cmd[@]}"
	rm -rf "$DIR/img"; mkdir "$DIR/img"
	! "$STASIS" dump -t "$pid" -D "$DIR/img" >"$DIR/says" 2>&1 || fail "$as: dumped in spite of its domain"
	grep -q "pid $pid.*Landlock domain" "$DIR/says" && grep -q -- "--landlock=drop" "$DIR/says" || { cat "$DIR/says"; fail "$as: it does not say why"; }
	alive "$pid" || fail "$as: it died of a dump that was refused"
	dump "$pid" --landlock=drop || fail "$as: --landlock=drop"
	wait_for 5 gone "$pid"; wait "$pid" 2>/dev/null
	restore || fail "$as: restore"
	alive "$RESTORED" || fail "$as: it does not run"
	kill -KILL "$RESTORED"
	start plain "${cmd[@]}"
	dump "$pid" || fail "$as: a task with no_new_privs alone is refused"
	wait_for 5 gone "$pid"; wait "$pid" 2>/dev/null
done
exit 0
