#!/bin/bash
# SPDX-License-Identifier: MIT
# Signed images: keys, a good restore, and what is refused: no signature, another key, changed files, a manifest made to fit.
set -u
. tests/lib.sh
. tests/trust.sh
cd "$DIR" || exit 1
"$STASIS" keygen sign key >/dev/null && "$STASIS" keygen sign other >/dev/null || fail "keygen"
"$STASIS" keygen encrypt enc >/dev/null || fail "keygen encrypt"
[ "$(stat -c %a key)" = 600 ] || fail "the secret key has mode $(stat -c %a key)"
"$STASIS" keygen sign key >/dev/null 2>&1 && fail "keygen replaces a key"
"$STASIS" keygen nonsense x >/dev/null 2>&1 && fail "keygen nonsense"
start_holder
for bad in key.pub enc nothing; do
	"$STASIS" dump -t $pid -D "$DIR/bad" --sign-key $bad >"$DIR/said" 2>&1 && fail "dump with $bad as key"
	alive $pid || fail "it died"
done
chmod 644 key
"$STASIS" dump -t $pid -D "$DIR/bad" --sign-key key >"$DIR/said" 2>&1 && fail "dump with a key that others may read"
chmod 600 key
dump $pid --leave-running || fail "dump without a signature"
mv img unsigned
dump $pid --sign-key key || fail "dump --sign-key"
holder_gone
img=$DIR/img
refused "another key" "not signed with the key" --verify-key other.pub
refused "secret key" "is needed" --verify-key key
refused "no key" "cannot open" --verify-key nothing
changed() {
	flip "$1"
	refused "flipped ${1##*/}" "${1##*/}|manifest|not signed" --verify-key key.pub
	flip "$1"
}
each_kind changed
mv "$img/x-stasis-signature.img" "$DIR/kept"; refused "signature removed" "not signed" --verify-key key.pub
# the manifest of other images fits them, but is not what was signed
cp -a img signed; rm -rf img; cp -a unsigned img; refused "unsigned" "not signed" --verify-key key.pub
cp "$DIR/kept" img/x-stasis-signature.img; refused "the signature of another dump" "not signed" --verify-key key.pub
rm -rf img; mv signed img; mv kept "$img/x-stasis-signature.img"
restore --verify-key key.pub || fail "restore --verify-key"
holder_ok
exit 0
