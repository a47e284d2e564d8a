#!/bin/bash
# SPDX-License-Identifier: MIT
# header.sh: the public header compiles alone, without warnings, in every language that a plugin may be written in.
. "$(dirname "$0")/tap.bash"

cat > "$DIR/use.c" <<'C'
#include <cr-plugin.h>
#include <cr-plugin.h> /* twice is fine */
static const struct cr_plugin p = { sizeof(p), CR_ABI, "p", "0", "none" };
CR_PLUGIN_REGISTER(p);
C
cp "$DIR/use.c" "$DIR/use.cc"
echo '#include "cr-plugin.h"' > "$DIR/alone.c"
# shellcheck disable=SC2016
compiles() { # COMPILER STANDARD FILE [OPTION…]
	local cc=$1 std=$2 file=$3; shift 3
	"$cc" -std="$std" -Wall -Wextra -Wpedantic -Werror -Wno-missing-field-initializers -Iinclude -c -o /dev/null "$@" "$file"
}
for cc in gcc clang; do
	command -v $cc >/dev/null || continue
	for std in c99 c11 gnu11; do
		check "alone, $cc -std=$std" compiles $cc $std "$DIR/alone.c"
		check "a plugin, $cc -std=$std" compiles $cc $std "$DIR/use.c"
	done
	check "a built-in plugin, $cc" compiles $cc gnu11 "$DIR/use.c" -DCR_BUILTIN
done
for cc in g++ clang++; do
	command -v $cc >/dev/null || continue
	for std in c++11 c++17 c++20; do
		check "a plugin, $cc -std=$std" compiles $cc $std "$DIR/use.cc"
	done
done
uses_no_private_header() { ! grep -nE '^#include "' include/cr-plugin.h; }
check "the header includes nothing of the source tree" uses_no_private_header
finish
