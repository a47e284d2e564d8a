#!/bin/bash
# SPDX-License-Identifier: MIT
# nginx with workers of user www-data, and clients that keep their connections.
set -u
. tests/apps/lib.sh
needs nginx
chmod 755 "$DIR"
cat >"$DIR/nginx.conf" <<EOF
user www-data; worker_processes 2; daemon off; error_log $DIR/error.log; pid $DIR/pid;
events { worker_connections 64; }
http {
	access_log $DIR/access.log; keepalive_timeout 600; keepalive_requests 1000000;
	client_body_temp_path $DIR/a; proxy_temp_path $DIR/b; fastcgi_temp_path $DIR/c; uwsgi_temp_path $DIR/d; scgi_temp_path $DIR/e;
	server { listen 127.0.0.1:$PORT; listen [::1]:$PORT; location / { return 200 "hello"; } }
}
EOF
setsid nginx -c "$DIR/nginx.conf" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
client one http 127.0.0.1 $PORT
client two http ::1 $PORT
client three http 127.0.0.1 $PORT
app_rounds $pid
