#!/bin/bash
# SPDX-License-Identifier: MIT
# redis-server without a client, listening on a socket of the file system: it keeps what it has in memory, and answers again.
set -u
. tests/lib.sh
command -v redis-server >/dev/null && command -v redis-cli >/dev/null || skip "redis is not installed"
"$STASIS" plugins | grep -q '^ *unix\b' || fail "there is no plugin for Unix sockets"
cd "$DIR" || exit 1
cli() { redis-cli -s "$DIR/sock" "$@"; }
setsid redis-server --port 0 --unixsocket "$DIR/sock" --dir "$DIR" --save "" --daemonize no --logfile "$DIR/log" \
	</dev/null >out 2>&1 &
pid=$!; track $pid
answers() { [ "$(cli ping)" = PONG ]; }
wait_for 10 answers || { cat log; fail "it does not start"; }
for i in $(seq 1 2000); do echo "SET key:$i value-$i-$((i * i))"; done | cli >/dev/null
cli RPUSH list a b c >/dev/null; cli SET soon gone PX 300 >/dev/null; cli SET later here EX 1000 >/dev/null
digest=$(cli EVAL 'local s = "" for i = 1, 2000 do s = redis.sha1hex(s .. redis.call("GET", "key:" .. i)) end return s' 0)
dump "$pid" --leave-running || fail "dump --leave-running"
alive "$pid" || fail "it died of a dump that should leave it running"
for round in 1 2 3 4 5 6 7 8 9 10; do
	sleep 0.1 # the last client is gone
	dump $pid || fail "dump, round $round"
	wait_for 5 gone $pid; wait $pid 2>/dev/null
	restore || fail "restore, round $round"
	wait_for 5 answers || { tail log; fail "round $round: no answer"; }
	now=$(cli EVAL 'local s = "" for i = 1, 2000 do s = redis.sha1hex(s .. redis.call("GET", "key:" .. i)) end return s' 0)
	[ "$now" = "$digest" ] || fail "round $round: its data changed"
	[ "$(cli LRANGE list 0 -1 | xargs)" = "a b c" ] || fail "round $round: the list changed"
done
wait_for 5 test -z "$(cli GET soon)" || fail "a key that should have expired is there"
[ "$(cli GET later)" = here ] || fail "a key expired too early"
cli SHUTDOWN NOSAVE 2>/dev/null
wait_for 5 gone $pid || fail "it does not end"
