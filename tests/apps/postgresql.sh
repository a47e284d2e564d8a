#!/bin/bash
# SPDX-License-Identifier: MIT
# PostgreSQL as user postgres: a session over TCP that inserts and reads back.
set -u
. tests/apps/lib.sh
needs psql
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)
[ -n "$bin" ] || skip "postgresql is not installed"
chmod 755 "$DIR"; mkdir "$DIR/db"; chown postgres "$DIR/db"
setpriv --reuid postgres --regid postgres --init-groups "$bin/initdb" -D "$DIR/db" -A trust >"$DIR/out" 2>&1 || { cat "$DIR/out"; fail "initdb"; }
cd "$DIR/db" || exit 1
setsid setpriv --reuid postgres --regid postgres --init-groups "$bin/postgres" -D "$DIR/db" -p $PORT -k "$DIR/db" -h 127.0.0.1 \
	</dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
cd "$OLDPWD" || exit 1
ask() { psql -h 127.0.0.1 -p $PORT -U postgres -qAt "$@"; }
wait_for 20 ask -c 'create table if not exists t (n int primary key)' >/dev/null || { cat "$DIR/out"; fail "it does not start"; }
client one lines 'insert into t values (%d); select count(*) from t;' '%d' psql -h 127.0.0.1 -p $PORT -U postgres -qAt
client two lines "select %d + 0;" '%d' psql -h 127.0.0.1 -p $PORT -U postgres -qAt
app_rounds $pid
[ "$(ask -c 'select count(*) = max(n) from t')" = t ] || fail "rows are missing"
