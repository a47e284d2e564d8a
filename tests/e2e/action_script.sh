#!/bin/bash
# SPDX-License-Identifier: MIT
# --action-script: every stage is told in order; one that says no leaves the target running, or nothing restored.
set -u
. tests/lib.sh
cat >"$DIR/script" <<E2
#!/bin/sh
echo "\$CRTOOLS_SCRIPT_ACTION \$CRTOOLS_IMAGE_DIR \$CRTOOLS_INIT_PID" >>"$DIR/log"
[ "\$CRTOOLS_SCRIPT_ACTION" != "\$(cat "$DIR/no" 2>/dev/null)" ]
E2
chmod +x "$DIR/script"
setsid sleep 1000 </dev/null >/dev/null 2>&1 &
pid=$!; track $pid
wait_for 5 grep -q sleep /proc/$pid/comm || fail "no target"
echo post-dump >"$DIR/no"
dump $pid --action-script "$DIR/script" >"$DIR/out" 2>&1 && fail "a script that says no does not stop the dump"
grep -q "post-dump" "$DIR/img/dump.log" || fail "the message does not name the stage"
alive $pid || fail "the target died of a dump that was stopped"
[ ! -e "$DIR/img/inventory.img" ] || fail "images of a dump that was stopped are left"
rm "$DIR/no" "$DIR/log"
dump $pid --action-script "$DIR/script" || fail "dump"
wait $pid 2>/dev/null
echo pre-resume >"$DIR/no"
restore --action-script "$DIR/script" >"$DIR/out" 2>&1 && fail "a script that says no does not stop the restore"
wait_for 5 gone $pid || fail "something of a restore that was stopped lives"
rm "$DIR/no"
restore --action-script "$DIR/script" || fail "restore"
i=$(realpath "$DIR/img")
printf '%s\n' "pre-dump $i " "network-lock $i $pid" "post-dump $i " \
	"pre-restore $i " "post-restore $i $pid" "network-unlock $i $pid" "pre-resume $i $pid" \
	"pre-restore $i " "post-restore $i $pid" "network-unlock $i $pid" "pre-resume $i $pid" "post-resume $i $pid" >"$DIR/right"
cmp "$DIR/right" "$DIR/log" || { cat "$DIR/log"; fail "the stages are not what they should be"; }

# whoever locked the network unlocks it where the connections go on: after a dump that failed, or left the tree running
rm "$DIR/log"; echo post-dump >"$DIR/no"
"$STASIS" dump -t $pid -D "$DIR/img" -o dump.log --action-script "$DIR/script" >"$DIR/out" 2>&1 && fail "the second refusal does not count"
rm "$DIR/no"
"$STASIS" dump -t $pid -D "$DIR/img" -o dump.log --leave-running --action-script "$DIR/script" || fail "dump --leave-running"
printf '%s\n' "pre-dump $i " "network-lock $i $pid" "post-dump $i " "network-unlock $i $pid" >"$DIR/one"
cat "$DIR/one" "$DIR/one" | cmp - "$DIR/log" || { cat "$DIR/log"; fail "the network is not unlocked"; }
alive $pid || fail "the target is gone"
