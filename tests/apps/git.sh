#!/bin/bash
# SPDX-License-Identifier: MIT
# git in mid-transfer: a clone whose own processes and server side are dumped together, again and again until it is done.
set -u
. tests/apps/lib.sh
needs git
export HOME=$DIR GIT_CONFIG_NOSYSTEM=1
git init -q "$DIR/repo" || fail "git init"
(
	cd "$DIR/repo" || exit 1
	git config user.name x; git config user.email x@example.org
	for i in $(seq 1 60); do head -c 700000 /dev/urandom | base64 >"file$i"; done
	git add . && git commit -qm all
) || fail "making the repository"
setsid git clone -q "file://$DIR/repo" "$DIR/clone" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
rounds=0
for round in 1 2 3 4 5; do
	sleep 0.2
	alive $pid || break
	dump $pid || { alive $pid || break; fail "dump, round $round"; }
	wait_for 10 gone $pid; wait $pid 2>/dev/null
	restore || fail "restore, round $round"
	rounds=$round
done
[ $rounds -gt 0 ] || fail "the clone is over before anything could be done"
wait_for 60 gone $pid || fail "it does not end"
[ ! -s "$DIR/out" ] || { cat "$DIR/out"; fail "git says something"; }
git -C "$DIR/clone" fsck --full >"$DIR/out" 2>&1 || { cat "$DIR/out"; fail "the clone is damaged"; }
[ "$(git -C "$DIR/clone" rev-parse HEAD)" = "$(git -C "$DIR/repo" rev-parse HEAD)" ] || fail "the clone has another head"
git -C "$DIR/clone" diff --quiet || fail "files of the clone differ"
