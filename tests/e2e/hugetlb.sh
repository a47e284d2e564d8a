#!/bin/bash
# SPDX-License-Identifier: MIT
# Self-checking programs with huge pages, which the kernel is allowed to give for the time of this test.
set -u
. tests/lib.sh
pool=/proc/sys/vm/nr_overcommit_hugepages
was=$(cat $pool 2>/dev/null) || skip "the kernel has no huge pages"
echo $((was + 64)) 2>/dev/null >$pool || skip "no huge pages may be had here"
trap 'cleanup; echo "$was" >$pool' EXIT
for prog in core/hugetlb memfd/memfd_huge; do
	for mode in plain running rounds user; do
		mkdir -p "$DIR/$mode"; chmod 755 "$DIR/$mode"
		DIR=$DIR/$mode bash tests/prog.sh "$BUILD/programs/$prog" $mode >"$DIR/says" 2>&1; rc=$?
		[ $rc != 77 ] || skip "$prog: $(sed -n 's/^SKIP: //p' "$DIR/says")"
		[ $rc = 0 ] || { cat "$DIR/says"; fail "$prog $mode"; }
		rm -rf "${DIR:?}/$mode"
	done
done
