#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""crit_all.py FILE…: `crit show` of every file, in one interpreter: starting one for each image costs more than the test itself."""
import contextlib
import io
import sys

from pycriu import cli

for name in sys.argv[1:]:
    sys.argv = ["crit", "show", name]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            cli.main()
    except BaseException as e:  # crit ends with exit() or whatever went wrong
        sys.exit(f"crit cannot read {name}: {e!r}")
