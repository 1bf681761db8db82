"""Final evaluation: trains the winner again on fresh seeds, then opens the sealed test set once.

python -m analysis.final runs/NAME                          # 3 best, baseline, random; 5 seeds each
python -m analysis.final runs/NAME --top 2 --seeds 3 --epochs 20
python -m analysis.final runs/NAME --seeds 10 --again       # more seeds; a second opening, which is counted

Contenders train on training and validation rows together, as trials on Ray under RUN/final/training; an interrupted
evaluation continues with the same command and trains nothing twice. Only when all training has ended are the test rows
read; a line in RUN/final/openings.jsonl counts the opening before anything is computed from them. Everything then goes
to RUN/final/final.json (described in `analysis/studies/results.py`), figures, tables, model.safetensors, model.json
and a model card.
"""

import os
import shlex
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.evaluation.settings import Options
from analysis.studies.openings import check_opening, read_openings, record_opening
from search.process.answer import add_to_answer
from search.process.arguments import (
    BROKEN_OFF,
    DONE,
    NOTHING_USABLE,
    SOME_FAILED,
    answering,
    parse,
    report_error,
    run_command,
    say_error,
    words_of,
)
from search.process.faults import fault_point
from search.process.signals import Stopped, raise_stopped
from search.runtime.resources import plan_resources
from search.storage.folder import check_run

if TYPE_CHECKING:
    from analysis.evaluation.job import Job
    from analysis.model.conformal import Conformal
    from analysis.studies.results import FinalResults


@answering
def main(argv: list[str]) -> int:
    """The command.

    Returns:
        0 done; 1 broken off, which the same command continues; 2 bad input; 3 done, some trainings failed; 4 nothing
        usable; 128 + n stopped by signal n, which the same command continues.
    """
    os.environ.setdefault("MPLBACKEND", "Agg")
    command = shlex.join([*words_of("analysis.final"), *argv])
    raise_stopped()
    where = Path()
    try:
        options = parse(Options, argv, prog=" ".join(words_of("analysis.final")))
        options.check()
        where = options.run
        return _final(options, command=command)
    except Stopped as stop:
        return _stopped(stop, command)
    except Exception as error:
        if "--debug" in argv:
            raise
        return _broken_off(error, where, command)


def _stopped(stop: Stopped, command: str) -> int:
    add_to_answer(resume=command)
    print(f"{stop}; finished trainings are saved; continue with:\n  {command}")
    return stop.code


def _broken_off(error: Exception, run_dir: Path, command: str) -> int:
    """Say what ended the command while the test set was closed, and return the exit code."""
    if isinstance(error, ValueError):
        return report_error(error)

    from search.scheduling.errors import HopelessSearchError
    from search.session.trouble import explain, is_machine_fault

    if isinstance(error, OSError) and not is_machine_fault(error):
        return report_error(error)
    reason = explain(error, run_dir)
    add_to_answer(resume=command)
    say_error(f"{reason}; the test set stays sealed, finished trainings are saved; continue with: {command}")
    return NOTHING_USABLE if isinstance(error, HopelessSearchError) else BROKEN_OFF


def _final(options: Options, *, command: str) -> int:
    check_run(options.run)
    _check_opening(options)
    plan_resources(
        concurrent=options.concurrent, cpus_per_trial=options.cpus_per_trial, gpus_per_trial=options.gpus_per_trial
    )

    from analysis.evaluation.heldout import fit_intervals
    from analysis.evaluation.job import Job

    job = Job.open(options, command=command)
    job.announce()
    job.train()
    networks, failures = job.collect()
    for failure in failures:
        print(f"failed: {failure.contender}, seed {failure.seed}: {failure.cause}")
    if not any(network.contender.role != "random" for network in networks):
        say_error("no network can be evaluated; the test set stays sealed")
        return NOTHING_USABLE
    baselines = job.fit_baselines()
    conformal = fit_intervals(job, job.by_contender(networks)[0][0])
    job.check_before_opening(networks)
    return _evaluate(job, networks, failures, baselines, command=command, conformal=conformal)


def _check_opening(options: Options) -> None:
    try:
        check_opening(options.run / "final", again=options.again)
    except ValueError:
        from search.storage.study import open_study

        open_study(options.run)  # of a damaged run nothing can be evaluated, with or without --again: that comes first
        raise


def _evaluate(
    job: "Job",
    networks: Sequence,
    failures: Sequence,
    baselines: Sequence,
    *,
    command: str,
    conformal: "Conformal | None" = None,
) -> int:
    """Open the test set. From here on whatever ends the evaluation says that this opening counts."""
    from analysis.evaluation import opened, own_opened
    from analysis.evaluation.networks import checksum
    from trainables.sources import load as data

    before = len(read_openings(job.final_dir))
    try:
        own = job.space.own  # such code opens its test rows in its own `test`
        # what cannot be read is not opened
        test = None if own else data.load_test(job.run.dataset, job.run.data_dir, like=job.dataset)
        record_opening(job.final_dir, command=command, why=job.why, checksum=checksum(networks))
        fault_point("final", 1)
        opened.restate(job.run_dir)
        if test is None:
            results = own_opened.evaluate(job, networks, failures)
        else:
            results = opened.evaluate(job, test, networks, failures, baselines, conformal=conformal)
    except (Exception, Stopped) as error:
        if len(read_openings(job.final_dir)) == before:  # it could not be recorded, and so was not opened
            raise
        if job.options.debug and isinstance(error, Exception):
            traceback.print_exc()
        return _ended_without_results(error, job)
    return _show(job, results) or (SOME_FAILED if failures else DONE)


def _ended_without_results(error: Exception | Stopped, job: "Job") -> int:
    from analysis.studies.results import FinalResults
    from search.session.trouble import explain

    with suppress(ValueError):
        results = FinalResults.read(job.final_dir)  # a signal may have come as they were put in place, or just after
        if results is not None and results.openings == len(read_openings(job.final_dir)):
            return _say_without_page(error, job)
    command = job.command + ("" if job.options.again else " --again")
    add_to_answer(resume=command)
    kept = " (the results of the previous evaluation are unchanged)" if (job.final_dir / "final.json").exists() else ""
    what = (
        f"the test set was opened, but there are no results{kept}; this opening counts, and the next one counts "
        f"again; the networks are trained and saved; evaluate them with"
    )
    if isinstance(error, Stopped):
        print(f"{error}; {what}:\n  {command}", flush=True)
        return error.code
    say_error(f"{explain(error, job.final_dir)}{_traceback(error, job)}; {what}: {command}")
    return BROKEN_OFF


def _traceback(error: Exception, job: "Job") -> str:
    """Where the traceback of an error in code of the user's own is kept, for the line about it."""
    if not job.space.own:
        return ""
    path = job.final_dir / "error.log"
    with suppress(OSError):  # no room
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")
        return f"; traceback: {path}"
    return ""


def _show(job: "Job", results: "FinalResults") -> int:
    """Print what was found and write the page; 0, or the exit code of what went wrong once the results were saved."""
    from analysis import report
    from analysis.progress import say, step
    from analysis.prose.conclusion import answer_of, conclude

    conclude(results, run_dir=job.run_dir)
    add_to_answer(**answer_of(results), results=job.final_dir / "final.json")
    try:
        with step("the page"):
            page = report.build(report.Options(run=job.run_dir, data_dir=job.run.data_dir))
    except (Exception, Stopped) as error:  # whatever it is, the evaluation is whole
        if job.options.debug and isinstance(error, Exception):
            traceback.print_exc()
        return _say_without_page(error, job)
    say(f"page: {page}")
    add_to_answer(page=page)
    return DONE


def _say_without_page(error: Exception | Stopped, job: "Job") -> int:
    from search.session.trouble import explain

    again = (
        f"the results are saved, but the page is not; create it with: {' '.join(words_of('analysis.report'))} "
        f"{job.run_dir}"
    )
    if isinstance(error, Stopped):
        print(f"{error}; {again}", flush=True)
        return error.code
    say_error(f"{explain(error, job.run_dir)}; {again}")
    return BROKEN_OFF


if __name__ == "__main__":
    run_command(main)
