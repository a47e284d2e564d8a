#!/bin/bash
# SPDX-License-Identifier: MIT
# --file-changed: files that grew, shrank or vanished since the dump, under each policy; nothing is changed by a restore that fails.
set -u
. tests/lib.sh
[ -x /usr/bin/python3 ] || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'END'
import os, sys, time
os.chdir(sys.argv[1])
w = {n: open(n, "w+") for n in ("grown", "shrunk", "gone", "log.grown", "log.gone")}
a = open("appended", "a")
for f in (*w.values(), a): f.write("0123456789"); f.flush()
r = open("read"); assert r.read() == "0123456789"
open("ready", "w").close()
while not os.path.exists("go"): time.sleep(0.02)
for f in (*w.values(), a): f.write("X"); f.flush()
open("result", "w").write("ok")
END
begin() { # dumped, and then all of it is changed
	rm -rf "$DIR/work"; mkdir "$DIR/work"; printf 0123456789 >"$DIR/work/read"
	setsid /usr/bin/python3 "$DIR/prog.py" "$DIR/work" </dev/null >"$DIR/out" 2>&1 & pid=$!; track $pid
	wait_for 10 test -e "$DIR/work/ready" || { cat "$DIR/out"; fail "it does not start"; }
	chmod 640 "$DIR/work/gone"
	dump $pid || fail "dump"
	wait_for 5 gone $pid; wait $pid 2>/dev/null
	cd "$DIR/work" || exit 1
	printf more >>grown; printf more >>log.grown; printf more >>read; printf more >>appended; truncate -s 4 shrunk; rm gone log.gone
}
state() { for f in *; do printf '%s:%s ' "$f" "$(tr '\0' . <"$f")"; done; }
goes_on() {
	touch go; wait_for 10 test -s result || { cat "$DIR/out"; fail "$1: no result"; }
	rm -f ready go result
	[ "$(state)" = "$2" ] || fail "$1: $(state), and should be $2"
}
begin
before=$(state) before2=$before
for p in fail ignore "*/log.*=append"; do
	restore --file-changed "$p" >"$DIR/said" 2>&1 && fail "--file-changed $p: a missing file is no error"
	[ "$(state)" = "$before" ] || fail "--file-changed $p: the restore that failed changed $(state)"
done
"$STASIS" restore -D "$DIR/img" --file-changed never 2>"$DIR/said" && fail "a policy that is none"
grep -q "file-changed never: it is fail, truncate" "$DIR/said" || { cat "$DIR/said"; fail "the message about it"; }
"$STASIS" check --images "$DIR/img" >"$DIR/said" && fail "check --images without a policy"
for p in "$PWD/grown has 14 bytes" "$PWD/shrunk has 4 bytes" "$PWD/gone is missing" "$PWD/read has 14"; do grep -q "$p" "$DIR/said" || { cat "$DIR/said"; fail "$p"; }; done
"$STASIS" check --images "$DIR/img" --file-changed truncate >"$DIR/said" || { cat "$DIR/said"; fail "check --images with a policy"; }
# another thing is in the way: what was made is taken away again, no size has changed
mv read was.read; before=$(state)
restore --file-changed truncate --file-changed "*/read=fail" >"$DIR/said" 2>&1 && fail "it is restored without a file"
[ "$(state)" = "$before" ] || fail "a restore that failed changed $(state)"
mv was.read read
"$STASIS" restore --explain -D "$DIR/img" --file-changed truncate >"$DIR/said" || { cat "$DIR/said"; fail "restore --explain"; }
[ "$(state)" = "$before2" ] || fail "restore --explain changed $(state)"
restore --file-changed truncate || fail "restore --file-changed truncate"
[ "$(stat -c %a gone)" = 640 ] || fail "the mode of a file that was made again: $(stat -c %a gone)"
goes_on truncate "appended:0123456789moreX gone:..........X grown:0123456789X log.gone:..........X log.grown:0123456789X read:0123456789more shrunk:0123......X "

begin
restore --file-changed truncate --file-changed "*/log.*=append" || fail "restore with two policies"
goes_on "two policies" "appended:0123456789moreX gone:..........X grown:0123456789X log.gone:X log.grown:0123456789moreX read:0123456789more shrunk:0123......X "

begin
: >gone; : >log.gone; chmod 640 gone
restore --file-changed ignore || fail "restore --file-changed ignore"
goes_on ignore "appended:0123456789moreX gone:..........X grown:0123456789Xore log.gone:..........X log.grown:0123456789Xore read:0123456789more shrunk:0123......X "
