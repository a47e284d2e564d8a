#!/bin/bash
# SPDX-License-Identifier: MIT
# --verify: a good directory is restored; one bit changed in a file of any kind, and a file
# that is missing, extra, cut or exchanged is named.
set -u
. tests/lib.sh
. tests/trust.sh
start_holder
dump $pid --leave-running || fail "dump --leave-running"
"$STASIS" show "$DIR/img" --verify >"$DIR/said" 2>&1 || { cat "$DIR/said"; fail "show --verify"; }
dump $pid || fail "dump"
holder_gone
img=$DIR/img
cp -a "$img" "$DIR/good"

changed() {
	flip "$1"
	case ${1##*/} in
	x-stasis-manifest.img) refused "flipped manifest" "manifest" --verify;;
	*) refused "flipped ${1##*/}" "${1##*/} differs" --verify;;
	esac
	flip "$1"
}
each_kind changed
last=$(ls -S "$img"/pages-*.img | head -1)
flip "$last" $(($(stat -c %s "$last") - 1))
refused "last bit of the pages" "${last##*/} differs" --verify
"$STASIS" show "$img" --verify >"$DIR/said" 2>&1 && fail "show --verify of changed images"
"$STASIS" check --images "$img" --verify >"$DIR/said" 2>&1 && fail "check --verify of changed images"
grep -q "${last##*/} differs" "$DIR/said" || { cat "$DIR/said"; fail "check does not name it"; }
flip "$last" $(($(stat -c %s "$last") - 1))

mv "$img/fdinfo-2.img" "$DIR/kept" 2>/dev/null || { f=$(ls "$img"/fdinfo-*.img | head -1); mv "$f" "$DIR/kept"; }
refused "removed" "fdinfo-.* is missing" --verify
rm -rf "$img"; cp -a "$DIR/good" "$img"
cp "$img/inventory.img" "$img/x-more.img"
refused "extra" "x-more.img is not in the manifest" --verify
rm "$img/x-more.img"; echo note >"$img/note.txt"
mv "$img/core-$pid.img" "$DIR/a"; mv "$img/mm-$pid.img" "$img/core-$pid.img"; mv "$DIR/a" "$img/mm-$pid.img"
refused "swapped" "core-$pid.img differs" --verify
grep -q "mm-$pid.img differs" "$DIR/said" || { cat "$DIR/said"; fail "swapped: the other one is not named"; }
rm -rf "$img"; cp -a "$DIR/good" "$img"
truncate -s -4096 "$last"; refused "cut off" "${last##*/} differs" --verify
rm "$last"; ln -s "$DIR/good/${last##*/}" "$last"; refused "a link" "${last##*/}" --verify
rm -rf "$img"; cp -a "$DIR/good" "$img"
mv "$img/x-stasis-manifest.img" "$DIR/kept"; refused "no manifest" "cannot be verified" --verify
mv "$DIR/kept" "$img/x-stasis-manifest.img"
chmod 777 "$img"; refused "writable by others" "others may write" --verify; chmod 700 "$img"

[ -z "$(find "$img" -name '*.img' ! -perm 600)" ] || fail "images that others may read: $(ls -l "$img")"
restore --verify || fail "restore --verify"
holder_ok
exit 0
