#!/bin/bash
# SPDX-License-Identifier: MIT
# trust.sh: with privilege, a plugin that somebody else could have changed is refused by name, and the others still load.
. "$(dirname "$0")/tap.bash"
[ "$(id -u)" = 0 ] || skip "only root refuses such files"
[ -x "$STASIS" ] || skip "$STASIS is not built"

mkdir -m 755 "$DIR/p" || exit 1
cat > "$DIR/mine.c" <<'C'
#include <cr-plugin.h>
static const struct cr_plugin mine = { sizeof(mine), CR_ABI, NAME, "0", "test" };
CR_PLUGIN_REGISTER(mine);
C
for n in mine other; do
	gcc -Iinclude -DNAME="\"$n\"" -fPIC -shared -fvisibility=hidden -o "$DIR/p/$n.so" "$DIR/mine.c" || exit 1
	chmod 755 "$DIR/p/$n.so"
done
state() { "$STASIS" plugins --plugin-dir "$DIR/p" 2>&1 | grep -A1 "^$1 "; }
is() { state "$1" | grep -w "$2" || { state "$1"; return 1; }; }
refused() { is "$1" disabled && state "$1" | grep -E "refused.*$1\.so|refused.*$DIR/p"; }

check "a file of root's is accepted" is mine enabled
chmod o+w "$DIR/p/mine.so"
check "a world-writable file is refused by name" refused mine
check "the plugin beside it is still accepted" is other enabled
chmod o-w "$DIR/p/mine.so"; chmod g+w "$DIR/p/mine.so"
check "a group-writable file is refused" refused mine
chmod g-w "$DIR/p/mine.so"
if [ "$(awk '{print $3; exit}' /proc/self/uid_map)" -gt 1000 ]; then
	chown 1000 "$DIR/p/mine.so"
	check "a file of another user is refused" refused mine
	chown 0 "$DIR/p/mine.so"
fi
chmod o+w "$DIR/p"
check "a file in a world-writable directory is refused" refused mine
chmod o-w "$DIR/p"
check "and accepted again" is mine enabled
wants_it() { ! "$STASIS" check --plugin-dir "$DIR/p" --plugins mine >/dev/null 2>&1; }
chmod o+w "$DIR/p/mine.so"
check "naming a refused plugin with --plugins is an error" wants_it
finish
