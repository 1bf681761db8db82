"""Runs searches: samples configurations, trains them on Ray, and stores every epoch in an Optuna study.

    run doctor rerun ctl   the commands
    session                one use of a command, from its options to its exit code
    diagnosis              what the doctor checks
    execution              a search on Ray: workers, slots, lost workers, loggers; imports Ray
    forecast               how long a search takes: the same rules on a simulated clock
    scheduling             which trial gets a free slot, and what follows from a finished epoch
    algorithms             which configuration is tried, which paused trial continues; one file per sampler
    storage                run.json and the study: every write, every seed
    runtime                Ray itself: started or joined, watched, shut down; imports Ray
    process                what every process needs: options, signals (Ctrl-C), output, scratch folders

A *rung* is an epoch at which trials are compared; a *leg* is one stay of a trial on a worker; a *slot* is room for one.
docs/design.md explains these and other words. Each wing may import those below it.
Imports spaces and trainables; analysis and rungwise may import it.
"""

import signal
import sys
from itertools import pairwise

if any(word == "-m" and name.startswith(("search.", "analysis.")) for word, name in pairwise(sys.orig_argv)):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command is imported Ctrl-C needs no traceback
