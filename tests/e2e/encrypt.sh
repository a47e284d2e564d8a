#!/bin/bash
# SPDX-License-Identifier: MIT
# Encrypted images: nothing readable in the directory; show, check and restore with the key;
# anything changed or exchanged is refused.
set -u
. tests/lib.sh
. tests/trust.sh
cd "$DIR" || exit 1
"$STASIS" keygen encrypt key >/dev/null && "$STASIS" keygen encrypt other >/dev/null &&
	"$STASIS" keygen sign sig >/dev/null || fail "keygen"
start_holder
"$STASIS" dump -t $pid -D "$DIR/bad" --encrypt-key key >"$DIR/said" 2>&1 && fail "dump with the secret key"
grep -q '\.pub' "$DIR/said" || { cat "$DIR/said"; fail "it does not say which key it wants"; }
dump $pid --leave-running --encrypt-key key.pub || fail "dump --leave-running"
mv img before
dump $pid --encrypt-key key.pub --sign-key sig || fail "dump --encrypt-key"
holder_gone
img=$DIR/img
if grep -lE 'the-secret-in|python3|holder' -r "$img" --include='*.img' >"$DIR/said"; then fail "readable: $(cat "$DIR/said")"; fi
refused "no key" "are encrypted" --verify
refused "another key" "for another key" --decrypt-key other
refused "the public key" "is needed" --decrypt-key key.pub
changed() {
	flip "$1"; refused "flipped ${1##*/}" "${1##*/}|manifest|damaged|not signed" --decrypt-key key --verify-key sig.pub; flip "$1"
}
each_kind changed
f=$(ls "$img"/fdinfo-*.img | head -1); mv "$f" kept; refused "removed" "${f##*/} is missing" --decrypt-key key; mv kept "$f"
# images of another dump for the same key, with its manifest and without
cp "before/core-$pid.img" kept; mv "$img/core-$pid.img" mine; cp kept "$img/core-$pid.img"
refused "of another dump" "core-$pid.img differs" --decrypt-key key
cp "$img/x-stasis-manifest.img" manifest; cp before/x-stasis-manifest.img "$img"
refused "with the manifest of another dump" "differs|manifest .* was changed" --decrypt-key key
cp manifest "$img/x-stasis-manifest.img"; mv mine "$img/core-$pid.img"
cat "$img/stats-dump" >/dev/null || fail "no statistics"

"$STASIS" show "$img" >/dev/null 2>&1 && fail "show without the key"
"$STASIS" show "$img" --decrypt-key key >said 2>&1 || { cat said; fail "show --decrypt-key"; }
grep -q "$pid" said || { cat said; fail "show"; }
"$STASIS" check --images "$img" --decrypt-key key >said 2>&1 || { cat said; fail "check --decrypt-key"; }
restore --decrypt-key key --verify-key sig.pub || fail "restore --decrypt-key"
holder_ok
dump_again=$RESTORED
gone "$dump_again" || wait_for 5 gone "$dump_again"
refused "an unencrypted directory" "cannot open|not encrypted|cannot be verified" --decrypt-key nothing
exit 0
