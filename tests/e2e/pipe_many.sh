#!/bin/bash
# SPDX-License-Identifier: MIT
# A user with more pipes than fs.pipe-user-pages-soft allows at their usual size.  What the limit counts is a user's, wherever his
# processes are: so this one belongs to nobody else, nor does what other tests do with pipes fail for it.
set -u
. tests/lib.sh
reachable_build
prog=$(realpath "$BUILD")/programs/pipes/pipe_many uid=61234
[ -x "$prog" ] || fail "$prog is not built"
read -r first _ count </proc/self/uid_map; [ $((first + count)) -gt $uid ] || skip "this user namespace has no user $uid"
caps=+checkpoint_restore,+sys_ptrace
user=(setpriv --reuid $uid --regid $uid --clear-groups)
real=$(realpath "$BUILD")/stasis; STASIS=$DIR/stasis
printf '#!/bin/bash\nexec %s --inh-caps %s --ambient-caps %s "%s" "$@"\n' "${user[*]}" $caps $caps "$real" >"$STASIS"
chmod 755 "$STASIS" "$DIR"; mkdir "$DIR/work" "$DIR/img"; touch "$DIR/out"; chown $uid "$DIR/work" "$DIR/img" "$DIR/out"
(cd / && exec setsid "${user[@]}" --inh-caps -all "$prog" "$DIR/work" >"$DIR/out" 2>&1 </dev/null) & pid=$!; track $pid
wait_for 20 test -e "$DIR/work/ready" || { grep SKIP "$DIR/work/result" && exit 77; fail "the program does not get ready: $(cat "$DIR/out")"; }
for how in --leave-running ""; do
	"$STASIS" dump -t $pid -D "$DIR/img" -o dump.log -v4 $how || { tail -n 20 "$DIR/img/dump.log"; fail "dump $how"; }
done
wait_for 5 gone $pid; wait $pid 2>/dev/null
"$STASIS" restore -d -D "$DIR/img" -o restore.log -v4 || { tail -n 20 "$DIR/img/restore.log"; fail "restore"; }
track $pid
touch "$DIR/work/go"
wait_for 20 test -s "$DIR/work/result" || fail "no result"
[ "$(cat "$DIR/work/result")" = ok ] || fail "$(cat "$DIR/work/result")"
