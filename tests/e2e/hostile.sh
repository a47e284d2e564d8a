#!/bin/bash
# SPDX-License-Identifier: MIT
# A sample of `make check-hostile`: damaged images are refused with a message, nothing crashes, hangs or stays behind.
set -u
. tests/lib.sh
[ -x /usr/bin/python3 ] || skip "python3 is not installed"
exec bash tests/hostile/run.sh "$BUILD" 300 1
