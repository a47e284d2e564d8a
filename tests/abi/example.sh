#!/bin/bash
# SPDX-License-Identifier: MIT
# example.sh: examples/hello builds outside the tree against an installed header, and the engine accepts it.
. "$(dirname "$0")/tap.bash"
command -v pkg-config >/dev/null || skip "pkg-config is not installed"
[ -x "$STASIS" ] || skip "$STASIS is not built"

# as `make install` of a distribution's package; names relative as in the build before
build=${BUILD#"$ROOT"/}
builtin=$(ls "$BUILD"/plugins/*.so >/dev/null 2>&1 || echo BUILTIN=all)
check "make install" make -s install BUILD="$build" $builtin DESTDIR="$DIR/root" PREFIX=/usr
check "only the one header is installed" test "$(ls "$DIR/root/usr/include")" = cr-plugin.h
export PKG_CONFIG_PATH="$DIR/root/usr/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$DIR/root"

cp -r examples/hello "$DIR/hello"; make -s -C "$DIR/hello" clean
for cc in gcc clang; do
	command -v $cc >/dev/null || continue
	rm -f "$DIR/hello/hello.so"
	check "hello builds with $cc" make -s -C "$DIR/hello" CC=$cc CFLAGS="-O2 -Wpedantic -Werror"
done
one_symbol() { [ "$(nm -D --defined-only "$DIR/hello/hello.so" | awk '{print $NF}')" = cr_plugin_abi0 ]; }
check "hello exports one symbol" one_symbol
lists() { # WORD…: all in the line(s) of `stasis plugins` about hello
	local out w; out=$("$STASIS" plugins --plugin-dir "$DIR/hello") || { echo "$out"; return 1; }
	out=$(grep -A6 '^hello ' <<< "$out")
	for w; do grep -q -- "$w" <<< "$out" || { echo "no $w in: $out"; return 1; }; done
}
check "hello is listed as enabled" lists enabled --hello-file
disabled() { "$STASIS" plugins --plugin-dir "$DIR/hello" --no-plugin hello | grep -A2 '^hello ' | grep disabled; }
check "--no-plugin hello disables it" disabled

# a log that grows between dump and restore: the engine's own plugin would refuse it
plugins=(--plugin-dir "$DIR/hello"); [ -n "$builtin" ] || plugins+=(--plugin-dir "$BUILD/plugins")
mkdir "$DIR/img"
setsid sh -c 'echo $$ > "$0"; exec sleep 100' "$DIR/pid" </dev/null >"$DIR/log" 2>&1 &
job=$!
for _ in $(seq 100); do [ -s "$DIR/pid" ] && break; sleep 0.05; done
sleep 0.1; pid=$(cat "$DIR/pid")
check "dump with --hello-file" "$STASIS" dump -t "$pid" -D "$DIR/img" "${plugins[@]}" --hello-file "$DIR/log"
wait $job 2>/dev/null
echo grown >> "$DIR/log"
check "restore opens the grown file" "$STASIS" restore -d -D "$DIR/img" "${plugins[@]}"
same_file() { [ "$(readlink "/proc/$pid/fd/1")" = "$DIR/log" ]; }
check "the restored task has it" same_file
[ -e "/proc/$pid" ] && kill -KILL "$pid"
finish
