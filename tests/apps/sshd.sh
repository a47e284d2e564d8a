#!/bin/bash
# SPDX-License-Identifier: MIT
# sshd with a session: the shell at the other end is in the tree, the client is not.
set -u
. tests/apps/lib.sh
needs ssh ssh-keygen /usr/sbin/sshd
chmod 700 "$DIR"
ssh-keygen -q -t ed25519 -N "" -f "$DIR/host"; ssh-keygen -q -t ed25519 -N "" -f "$DIR/user"; cp "$DIR/user.pub" "$DIR/keys"
mkdir -p /run/sshd
setsid /usr/sbin/sshd -D -e -f /dev/null -h "$DIR/host" -p $PORT -o ListenAddress=127.0.0.1 -o PidFile="$DIR/pid" -o AuthorizedKeysFile="$DIR/keys" \
	-o StrictModes=no -o UsePAM=no -o PermitRootLogin=yes </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
ssh=(ssh -F /dev/null -i "$DIR/user" -p $PORT -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@127.0.0.1)
wait_for 10 "${ssh[@]}" true </dev/null || { cat "$DIR/out"; fail "it does not start"; }
client one lines 'line %d' 'line %d' "${ssh[@]}" 'while read -r l; do echo "$l"; done'
client two lines 'echo $((%d + 1 - 1))' '%d' "${ssh[@]}" sh
app_rounds $pid
