#!/bin/bash
# SPDX-License-Identifier: MIT
# symbols.sh: a plugin exports one symbol and takes none from the engine.
. "$(dirname "$0")/tap.bash"

shopt -s nullglob
plugins=("$BUILD"/plugins/*.so)
[ ${#plugins[@]} -gt 0 ] || skip "no plugins in $BUILD/plugins (built with BUILTIN=all?)"
if nm -D "${plugins[0]}" | grep -q ' U __\(asan\|ubsan\|tsan\|msan\)_'; then
	skip "built with sanitizers, whose symbols come from the program"
fi

one_symbol() {
	local got; got=$(nm -D --defined-only "$1" | awk '{print $NF}' | sort | tr '\n' ' ')
	[ "$got" = "cr_plugin_abi0 " ] || { echo "exports: $got"; return 1; }
}
# every undefined symbol is found in the libraries that the plugin names itself
resolves() {
	local out; out=$(ldd -r "$1" 2>&1)
	! grep -E 'undefined symbol|not found' <<< "$out"
}
no_engine() {
	local needed; needed=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p')
	! grep -E 'stasis|libcore|criu' <<< "$needed"
}
for p in "${plugins[@]}"; do
	n=$(basename "$p")
	check "$n exports cr_plugin_abi0 and nothing else" one_symbol "$p"
	check "$n: all symbols resolve from its own libraries" resolves "$p"
	check "$n links against no library of the engine" no_engine "$p"
done
if [ -x "$STASIS" ]; then
	exports_nothing() { ! nm -D --defined-only "$STASIS" | grep -E ' (fail|refuse|session_|img_|plugins_|files_)'; }
	check "the engine exports none of its functions" exports_nothing
fi
finish
