#!/bin/bash
# SPDX-License-Identifier: MIT
# The engine is killed at a sample of its system calls, dumping and restoring (make check-kill does the same, longer).
set -u
. tests/lib.sh
unshare -m -p -f true 2>/dev/null || skip "no namespaces can be made here"
tests/kill/run.sh sweep -t 75
