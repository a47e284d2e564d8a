#!/bin/bash
# SPDX-License-Identifier: MIT
# --policy: what is misspelt or impossible is said at once; fail, close and external for kinds, single objects and what nobody
# claims, at dump and at restore; what was closed is in the log, the statistics and 'show'.
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'E2'
import os, sys, time, select
os.chdir(sys.argv[1])
ev, pipe, log = os.eventfd(5), os.pipe(), os.open("the.log", os.O_WRONLY | os.O_CREAT)
os.dup2(ev, 100); os.dup2(pipe[0], 101); os.dup2(pipe[1], 102); os.dup2(log, 103)
for fd in (ev, *pipe, log): os.close(fd)
for fd in (100, 101, 102, 103): os.set_inheritable(fd, True)
os.write(102, b"in the pipe")
open("ready.new", "w").close(); os.rename("ready.new", "ready")
while not os.path.exists("go"): time.sleep(0.02)
def say(*a): print(*a, file=out)
out = open("result.new", "w")
os.set_blocking(100, False); os.set_blocking(101, False)
def got(fd, n):
    try: return os.read(fd, n)
    except OSError as e: return e.errno
say("eventfd", got(100, 8)); say("pipe", got(101, 100))
for name, fd in (("pipe write", 102), ("log", 103)):
    try: say(name, os.write(fd, b"more"))
    except OSError as e: say(name, e.errno)
out.close(); os.rename("result.new", "result")
E2
start() {
	rm -rf "$DIR/w"; mkdir "$DIR/w"
	setsid python3 "$DIR/prog.py" "$DIR/w" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 20 test -e "$DIR/w/ready" || { cat "$DIR/out"; fail "the program did not get ready"; }
}
refused() { # TEXT OPTION…
	local text=$1; shift
	rm -rf "$DIR/bad"; mkdir "$DIR/bad"
	"$STASIS" dump -t $pid -D "$DIR/bad" -o dump.log -v4 "$@" 2>"$DIR/err" && fail "dumped with $*"
	grep -qF -- "$text" "$DIR/err" || fail "$*: the message lacks \"$text\": $(cat "$DIR/err")"
	alive $pid || fail "it died of a dump that was refused"
}
finish() { # LINE…: what the program found
	touch "$DIR/w/go"
	wait_for 20 test -e "$DIR/w/result" || { cat "$DIR/out"; fail "it does not go on"; }
	printf '%s\n' "$@" >"$DIR/want"
	diff "$DIR/want" "$DIR/w/result" || fail "the program found something else"
}
five="eventfd b'\\x05\\x00\\x00\\x00\\x00\\x00\\x00\\x00'"

# what is said wrongly
start
refused 'no loaded plugin has files of kind evntfd' --policy evntfd=close
refused 'expected RESOURCE=ACTION' --policy eventfd=drop
refused 'cannot reconnect, only restore|fail|close|external' --policy eventfd=reconnect
refused 'only some kinds can reconnect' --policy all=reconnect
refused 'expected fd[PID:NUMBER]' --policy 'fd[7]=close'
refused 'load the plugin closed' --policy eventfd=close --no-plugin closed
# fail; the last of equals counts, single objects before kinds
refused 'must not be dumped' --policy eventfd=fail
refused 'pid '$pid' fd 100' --policy "fd[$pid:100]=fail" --policy eventfd=close
"$STASIS" check --pid $pid --policy pipe=fail >"$DIR/said" 2>&1 && fail "check finds nothing"
grep -q 'must not be dumped' "$DIR/said" || fail "check: $(cat "$DIR/said")"
# what nobody claims
refused '--policy unknown=close' --no-plugin eventfd
dump $pid --no-plugin eventfd --policy unknown=close --display-stats >"$DIR/stats" || fail "dump, unknown=close"
grep -q 'State lost: 1' "$DIR/stats" || fail "statistics: $(cat "$DIR/stats")"
wait $pid 2>/dev/null
grep -q 'Warn.*lost: pid .* fd 100 .*closed, as --policy unknown=close says' "$DIR/img/dump.log" || fail "the log does not tell"
"$STASIS" show "$DIR/img" >"$DIR/show" || fail "show"
grep -q 'lost at the dump.*fd 100' "$DIR/show" || fail "show: $(cat "$DIR/show")"
"$STASIS" show --json "$DIR/img" | python3 -c 'import json, sys; l = json.load(sys.stdin)["lost"]; assert l[0]["at"] == "dump", l' || fail "show --json"
restore || fail "restore, unknown=close"
finish "eventfd b''" "pipe b'in the pipe'" "pipe write 4" "log 4"

# a configuration file; a pattern for a path
start
echo 'policy "regular[/*/the.log]=close"' >"$DIR/conf"
dump $pid --config "$DIR/conf" || fail "dump with a configuration file"
wait $pid 2>/dev/null
restore || fail "restore"
finish "$five" "pipe b'in the pipe'" "pipe write 4" "log 4"
[ ! -s "$DIR/w/the.log" ] || fail "the log was written"

# external: one object by its number, one kind
start
dump $pid --policy "fd[$pid:100]=external" --policy pipe=external || fail "dump, external"
key=$(sed -n 's/.*--inherit-fd fd\[N\]:\(eventfd.*\)/\1/p' "$DIR/img/dump.log")
pipe=$(sed -n 's/.*--inherit-fd fd\[N\]:\(pipe.*\)/\1/p' "$DIR/img/dump.log" | tail -n 1)
[ -n "$key" ] && [ -n "$pipe" ] || fail "the dump does not tell the keys"
wait $pid 2>/dev/null
restore >"$DIR/said" 2>&1 && fail "restored without what is external"
grep -qF -- "--inherit-fd fd[N]:" "$DIR/said" || fail "no key is named: $(cat "$DIR/said")"
mkfifo "$DIR/fifo"; exec 47<>"$DIR/fifo"; echo -n passed >"$DIR/fifo"
restore --inherit-fd "fd[47]:$key" --inherit-fd "fd[47]:$pipe" || fail "restore with --inherit-fd"
exec 47>&-
finish "eventfd b'passed'" "pipe 11" "pipe write 4" "log 4"

# at restore, of images that have everything
start
dump $pid || fail "dump"
wait $pid 2>/dev/null
rm "$DIR/w/the.log"
restore --policy eventfd=fail >"$DIR/said" 2>&1 && fail "restored what must fail"
grep -q 'must not be restored' "$DIR/said" || fail "restore: $(cat "$DIR/said")"
restore --policy eventfd=external --policy regular=close >"$DIR/said" 2>&1 && fail "restored what is external"
grep -q 'inherit-fd fd\[N\]:eventfd\[' "$DIR/said" || fail "restore: $(cat "$DIR/said")"
restore --policy 'pipe=close' --policy 'regular[/*/the.log]=close' --display-stats >"$DIR/stats" || fail "restore, close"
grep -q 'State lost: 3' "$DIR/stats" || fail "statistics: $(cat "$DIR/stats")"
finish "$five" "pipe b''" "pipe write 32" "log 4"
