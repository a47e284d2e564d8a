#!/bin/bash
# SPDX-License-Identifier: MIT
# A program file that lends rights, by file capabilities or setuid: its caller can dump and restore what is his, nothing
# else; the environment, and plugins that are not root's, do not count.
set -u
. tests/lib.sh
command -v setcap >/dev/null || skip "there is no setcap"
[ "$(awk '{print $3; exit}' /proc/self/uid_map)" -gt 1000 ] || skip "this user namespace has no ordinary user"
reachable_build
ls "$BUILD"/plugins/*.so >/dev/null 2>&1 || skip "the plugins are built in"
user=(setpriv --reuid 1000 --regid 1000 --clear-groups)
as=("${user[@]}" --inh-caps -all)
bin=$(mktemp -d /tmp/stasis-lent.XXXXXX) || fail "no directory"
trap 'cleanup; rm -rf "$bin"' EXIT
chmod 755 "$bin"; mkdir "$bin/plugins"; cp "$BUILD"/plugins/*.so "$bin/plugins"; chmod -R go-w "$bin"
work=$DIR/work; mkdir "$work"; chmod 755 "$DIR"; chown 1000:1000 "$work"
prog=$BUILD/programs/core/threads

start() { # [AS…] leaves the pid
	rm -rf "${work:?}"/* ; "${as[@]}" mkdir "$work/img" "$work/p"
	(cd "$work" && exec setsid "$@" "$prog" "$work/p" >"$DIR/out" 2>&1 </dev/null) & pid=$!; track $pid
	wait_for 10 test -e "$work/p/ready" || fail "no target: $(cat "$DIR/out")"
}
# the log and stderr
try() { "${as[@]}" "$bin/stasis" "$@" >"$work/out" 2>&1; }
refused() { # TEXT WHAT ARGS…
	local text=$1 what=$2; shift 2
	try "$@" && fail "$what: it succeeds"
	grep -qE "$text" "$work/out" || fail "$what: not '$text': $(cat "$work/out")"
}
unharmed() { alive $pid && grep -q '^TracerPid:[[:space:]]0$' /proc/$pid/status || fail "$1: the target is harmed"; }

lend() { # HOW
	rm -f "$bin/stasis"; cp "$BUILD/stasis" "$bin/stasis"; chmod 755 "$bin/stasis"
	case $1 in setuid) chmod 4755 "$bin/stasis";; *) setcap "$1" "$bin/stasis" 2>/dev/null || skip "no file capabilities here";; esac
}
for how in cap_checkpoint_restore+ep cap_checkpoint_restore,cap_sys_ptrace+p cap_checkpoint_restore,cap_sys_ptrace,cap_dac_override,cap_setuid+ep setuid; do
	lend $how
	# what is his
	: >"$DIR/out"; chown 1000 "$DIR/out"; start "${as[@]}"
	try dump -t $pid -D "$work/img" --leave-running || fail "$how: dump --leave-running: $(cat "$work/out")"
	unharmed "$how"
	try dump -t $pid -D "$work/img" || fail "$how: dump: $(cat "$work/out")"
	wait_for 5 gone $pid; wait $pid 2>/dev/null
	[ "$(stat -c %u "$work/img/inventory.img")" = 1000 ] || fail "$how: the images are not the caller's"
	try restore -d -D "$work/img" || fail "$how: restore: $(cat "$work/out")"
	grep -qE '^Cap(Prm|Eff|Inh|Amb):[[:space:]]0*$' /proc/$pid/status && ! grep -E '^Cap(Prm|Eff|Inh|Amb)' /proc/$pid/status |
		grep -qv '[[:space:]]0*$' || fail "$how: the restored task has capabilities: $(grep Cap /proc/$pid/status)"
	touch "$work/p/go"; wait_for 10 test -s "$work/p/result" || fail "$how: no result"
	[ "$(cat "$work/p/result")" = ok ] || fail "$how: $(cat "$work/p/result")"

	# what is not: root's, one with capabilities, one that is not dumpable
	start
	refused "another user's" "$how: root's process" dump -t $pid -D "$work/img"; unharmed "$how: root's"
	refused "not found|another|may not|denied|permitted|trace" "$how: root's process, check" check --pid $pid
	kill -9 $pid; wait $pid 2>/dev/null
	start "${user[@]}" --inh-caps +checkpoint_restore --ambient-caps +checkpoint_restore
	refused "has capabilities" "$how: a process with capabilities" dump -t $pid -D "$work/img"; unharmed "$how: capabilities"
	refused "has capabilities" "$how: a process with capabilities, check" check --pid $pid
	kill -9 $pid; wait $pid 2>/dev/null
	if command -v perl >/dev/null; then
		"${as[@]}" perl -e 'syscall(157, 4, 0, 0, 0, 0); open(F, ">", "'"$work/p/perl"'"); sleep 1000' <>/dev/null >&0 2>&0 & pid=$!; track $pid
		wait_for 10 test -e "$work/p/perl" || fail "no target that is not dumpable"
		refused "not dumpable" "$how: a process that is not dumpable" dump -t $pid -D "$work/img" -j; unharmed "$how: not dumpable"
		kill -9 $pid; wait $pid 2>/dev/null
	fi
	cp "$prog" "$bin/suid"; chmod 6755 "$bin/suid"; prog=$bin/suid; start "${as[@]}"; prog=$BUILD/programs/core/threads
	refused "another user's" "$how: a setuid process" dump -t $pid -D "$work/img"; unharmed "$how: setuid"
	kill -9 $pid; wait $pid 2>/dev/null

	# images of root's process: neither its user nor its capabilities
	start
	"$BUILD/stasis" dump -t $pid -D "$work/img" -o dump.log || fail "root's dump: $(tail "$work/img/dump.log")"
	wait_for 5 gone $pid; wait $pid 2>/dev/null; chown -R 1000:1000 "$work/img"
	refused "CAP_SET.ID|capabilities" "$how: restore of root's process" restore -d -D "$work/img"
	alive $pid && fail "$how: root's process lives"
	# the same, as the caller himself, with a capability
	start "${user[@]}" --inh-caps +checkpoint_restore --ambient-caps +checkpoint_restore
	"$BUILD/stasis" dump -t $pid -D "$work/img" -o dump.log || fail "root's dump: $(tail "$work/img/dump.log")"
	wait_for 5 gone $pid; wait $pid 2>/dev/null; chown -R 1000:1000 "$work/img"
	refused "has capabilities in the images" "$how: capabilities from images" restore -d -D "$work/img"
	alive $pid && fail "$how: the process with capabilities lives"
done

# nothing in root's files is written
lend setuid
refused "denied" "log in root's directory" check -o "$bin/log"
[ ! -e "$bin/log" ] || fail "a log in root's directory"

# the environment does not count
"${as[@]}" mkdir -p "$work/home/.criu"
echo "no-such-option" | "${as[@]}" tee "$work/home/.criu/default.conf" >"$work/conf"; chown 1000 "$work/conf"
for how in cap_checkpoint_restore+ep setuid; do
	lend $how
	for v in "HOME=$work/home" "CRIU_CONFIG_FILE=$work/conf"; do
		env "$v" "${as[@]}" "$BUILD/stasis" plugins >"$work/out" 2>&1 && fail "$v: not read by an ordinary program"
		env "$v" "${as[@]}" "$bin/stasis" plugins >"$work/out" 2>&1 || fail "$how: $v counts: $(cat "$work/out")"
	done
	"${as[@]}" env LD_PRELOAD="$work/nothing.so" XDG_RUNTIME_DIR="$work" "$bin/stasis" recover >"$work/out" 2>&1 || fail "$how: $(cat "$work/out")"
	! grep -q "nothing.so" "$work/out" || fail "$how: LD_PRELOAD counts"
done

# plugins: root's, in directories that only root can exchange
lend cap_checkpoint_restore+ep
mine=$work/mine; "${as[@]}" mkdir "$mine"; cp "$bin/plugins/eventfd.so" "$mine"; chown 1000 "$mine/eventfd.so"
listed() { try plugins --plugin-dir "$1"; grep -A2 '^eventfd' "$work/out"; }
listed "$mine" | grep -q "refused: .* belongs to user 1000" || fail "the caller's plugin is taken: $(cat "$work/out")"
chown 0 "$mine/eventfd.so"; listed "$mine" | grep -q "refused: .* belongs to user 1000" || fail "a plugin in the caller's directory is taken"
mkdir "$mine/sub"; cp "$bin/plugins/eventfd.so" "$mine/sub"
listed "$mine/sub" | grep -q "refused: .* belongs to user 1000" || fail "a plugin below the caller's directory is taken"
listed "$bin/plugins" | grep -q "refused" && fail "root's plugin is refused: $(cat "$work/out")"
mkdir "$DIR/open"; cp "$bin/plugins/eventfd.so" "$DIR/open"; chmod 777 "$DIR/open"
listed "$DIR/open" | grep -q "refused: .* can be written by others" || fail "a plugin in a directory open to all is taken"
"$BUILD/stasis" plugins --plugin-dir "$mine" | grep -q "refused: .* belongs to user 1000" || fail "root takes another user's plugin"
"$BUILD/stasis" plugins --plugin-dir "$DIR/open" | grep -q "can be written by others" || fail "root takes a plugin that others can write"
chmod 755 "$DIR/open"; chmod 666 "$DIR/open/eventfd.so"
"$BUILD/stasis" plugins --plugin-dir "$DIR/open" | grep -q "can be written by others" || fail "root takes a plugin that others can write"
exit 0
