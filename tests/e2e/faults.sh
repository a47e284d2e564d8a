#!/bin/bash
# SPDX-License-Identifier: MIT
# A sample of the engine's steps is made to fail, one after the other (make check-faults: all of them).
set -u
. tests/lib.sh
unshare -m -p -f true 2>/dev/null || skip "no namespaces can be made here"
tests/kill/run.sh faults -t 45
