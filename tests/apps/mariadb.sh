#!/bin/bash
# SPDX-License-Identifier: MIT
# MariaDB with its io_uring and threads: sessions over TCP that insert and read back.
set -u
. tests/apps/lib.sh
needs mariadbd mariadb-install-db mariadb
chmod 755 "$DIR"; mkdir "$DIR/db"; chown mysql "$DIR/db"
mariadb-install-db --no-defaults --user=mysql --datadir="$DIR/db" --auth-root-authentication-method=normal >"$DIR/out" 2>&1 || { tail "$DIR/out"; fail "install"; }
setsid mariadbd --no-defaults --user=mysql --datadir="$DIR/db" --port=$PORT --bind-address=127.0.0.1 --socket="$DIR/db/sock" \
	--pid-file="$DIR/db/pid" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
sql=(mariadb --no-defaults -h 127.0.0.1 -P $PORT --protocol tcp -u root -N -B --unbuffered)
wait_for 30 "${sql[@]}" -e 'create database if not exists d; create table if not exists d.t (n int primary key) engine=innodb' || { tail "$DIR/out"; fail "it does not start"; }
client one lines 'insert into d.t values (%d); select count(*) from d.t;' '%d' "${sql[@]}"
client two lines 'select %d + 0;' '%d' "${sql[@]}"
app_rounds $pid
[ "$("${sql[@]}" -e 'select count(*) = max(n) from d.t')" = 1 ] || fail "rows are missing"
