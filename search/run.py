"""Searches a space: samples configurations, trains them on Ray Tune, stops weak ones early, stores all in Optuna.

python -m search.run                                              # digits, no download, minutes on two cores
python -m search.run --space cifar_arch --data-dir data --trials 100
python -m search.run --resume --name NAME [--trials 200]
"""

import os
import sys
import time
from collections.abc import Collection

from search.process.answer import keep_stdout
from search.process.arguments import (
    BROKEN_OFF,
    DONE,
    answering,
    command,
    report_error,
    run_command,
)
from search.process.output import print_patiently
from search.process.signals import Stopped, raise_stopped
from search.process.silence import doing
from search.session.checks import check, check_here
from search.session.config import read_options
from search.session.options import Options


@answering
def main(argv: list[str]) -> int:
    """The command.

    Returns:
        0 done; 1 broken off, resumable; 2 bad input; 3 finished, some trials failed; 4 nothing usable; 128 + n stopped
        by signal n, resumable.
    """
    raise_stopped()
    print_patiently()
    try:
        given = read_options(argv, prog=command("search.run"))
        if given.options.json:
            keep_stdout()
        with given.naming_the_file():
            check(given.options)
            check_here(given.options)
            return _search(given.options, given=given.names)
    except BrokenPipeError as error:
        report_error(error)
        return BROKEN_OFF
    except (ValueError, OSError) as error:
        if "--debug" in argv:
            raise
        return report_error(error)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.code


def _search(options: Options, *, given: Collection[str]) -> int:
    # the matrices of the model of curves are small: a second thread would only wait for the cores that train
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    deadline = None if options.time_budget is None else time.monotonic() + 60 * options.time_budget
    if not options.dry_run:
        from search.session.start import search_on_ray  # imported here, so that a mistake is answered at once

        return search_on_ray(options, given=given, deadline=deadline)
    from search.session.session import Session

    with doing("reading the data"):
        session = Session.open(options, given=given)
    session.preview()
    return DONE


if __name__ == "__main__":
    run_command(main)
