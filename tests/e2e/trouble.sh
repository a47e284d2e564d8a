#!/bin/bash
# SPDX-License-Identifier: MIT
# Dumps and restores in trouble: a full disk, low limits, signals to the engine, targets that die or never stand still.
set -u
. tests/lib.sh
unshare -m -p -f true 2>/dev/null || skip "no namespaces can be made here"
tests/kill/run.sh trouble
