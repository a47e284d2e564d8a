#!/bin/bash
# SPDX-License-Identifier: MIT
# lint-text.sh FILE…: what no compiler says about the form of C sources and headers: a licence line first, tabs for
# indentation, no blanks at the end of a line, no lines past 130 columns, no files past 900 lines, and none of the
# functions that write without knowing where to stop or that other threads share.  Prints file:line: text.
set -u
bad=0
banned='gets|strcat|strncat|strtok|vsprintf|alloca|mktemp|tmpnam|system|popen|asctime|ctime|rand|srand'
[ $# -gt 0 ] || { echo "usage: lint-text.sh FILE..." >&2; exit 2; }

for f; do
	head -n 1 "$f" | grep -q 'SPDX-License-Identifier: MIT' || { echo "$f:1: no licence line"; bad=1; }
	[ "$(wc -l < "$f")" -le 900 ] || { echo "$f: more than 900 lines: split it by meaning"; bad=1; }
	expand -t 8 "$f" | awk -v f="$f" 'length > 130 { print f ":" NR ": " length " columns"; bad = 1 } END { exit bad }' || bad=1
done
report() { # TEXT PATTERN FILE…
	local text=$1 pattern=$2 out; shift 2
	out=$(grep -nHE "$pattern" "$@") || return 0
	sed "s/^\([^:]*:[0-9]*\):/\1: $text:/" <<< "$out"; bad=1
}
report "blanks at the end" '[[:blank:]]+$' "$@"
report "spaces for a tab" '^ {8}' "$@"
mapfile -t product < <(printf '%s\n' "$@" | grep -vE '_test\.c$|/test/|^tests/')
[ ${#product[@]} = 0 ] || report "banned function" "(^|[^_[:alnum:].>])($banned)\(" "${product[@]}"
exit $bad
