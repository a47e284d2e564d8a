# SPDX-License-Identifier: MIT
# trust.sh: a program whose images are tampered with, for verify.sh, sign.sh and encrypt.sh. Sourced after lib.sh.

[ -x /usr/bin/python3 ] || skip "python3 is not installed"
cat >"$DIR/holder.py" <<'END'
# 100 MiB of its own, 4 MiB shared, a deleted file: kept, and compared when $DIR/go appears
import hashlib, mmap, os, sys, time
os.chdir(sys.argv[1])
own = bytearray(os.urandom(1 << 20) * 100)
own[50 << 20:(50 << 20) + 26] = b"the-secret-in-its-memory/" + b"!"
shared = mmap.mmap(-1, 4 << 20)
shared[:] = os.urandom(4 << 20)
f = open("deleted", "w+")
f.write("the-secret-in-a-file/!" * 1000); f.flush()
os.unlink("deleted")
def sums():
    f.seek(0)
    return hashlib.sha256(own).digest(), hashlib.sha256(shared).digest(), f.read()
was = sums()
open("ready", "w").close()
while not os.path.exists("go"): time.sleep(0.02)
open("result.new", "w").write("ok" if sums() == was else "its memory or its file has changed")
os.rename("result.new", "result")
END
# leaves the pid in $pid
start_holder() {
	setsid /usr/bin/python3 "$DIR/holder.py" "$DIR" </dev/null >"$DIR/out" 2>&1 &
	pid=$!; track $pid
	wait_for 20 test -e "$DIR/ready" || { cat "$DIR/out"; fail "it does not start"; }
}
# The dump has ended it: nothing of it is left.
holder_gone() { wait_for 5 gone "$pid"; wait "$pid" 2>/dev/null; }
# It finds everything as it was.
holder_ok() { touch "$DIR/go"; result_ok; }
# flip FILE [OFFSET]: changes one bit, in the middle
flip() {
	/usr/bin/python3 - "$@" <<'END'
import os, sys
f = open(sys.argv[1], "r+b"); n = os.fstat(f.fileno()).st_size
at = int(sys.argv[2]) if len(sys.argv) > 2 else n // 2
f.seek(at); c = f.read(1)[0]; f.seek(at); f.write(bytes([c ^ 4]))
END
}
# refused WHAT TEXT OPTION…: a restore with these options fails, says TEXT, and starts nothing
refused() {
	local what=$1 text=$2; shift 2
	! "$STASIS" restore -d -D "$DIR/img" "$@" >"$DIR/said" 2>&1 || fail "$what: it is restored"
	grep -qE -- "$text" "$DIR/said" || { cat "$DIR/said"; fail "$what: '$text' is not said"; }
	gone "$pid" || fail "$what: the process is there"
}
# each_kind FUNCTION: calls it with one image of each kind of name
each_kind() {
	local f kind seen=" "
	for f in "$DIR"/img/*.img; do
		kind=$(sed 's/-[0-9a-f]*\.img$//; s/\.img$//' <<<"${f##*/}")
		[[ $seen != *" $kind "* ]] || continue
		seen+="$kind "
		"$1" "$f"
	done
}
