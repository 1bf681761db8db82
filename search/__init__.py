"""Launches searches: the only package that knows Ray, and in it only `execution` and `runtime`.

Imports spaces and trainables; analysis and rungwise may import it.
"""

import signal
import sys
from itertools import pairwise

if any(word == "-m" and name.startswith(("search.", "analysis.")) for word, name in pairwise(sys.orig_argv)):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command is imported Ctrl-C needs no traceback
