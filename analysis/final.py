"""Evaluates the winner honestly: trains it anew on fresh seeds, then opens the sealed test set once.

python -m analysis.final runs/NAME                          # 3 best, baseline, random; 5 seeds each
python -m analysis.final runs/NAME --top 2 --seeds 3 --epochs 20
python -m analysis.final runs/NAME --seeds 10 --again       # more seeds; a second opening, which is counted

Contenders train on training and validation rows together, as trials on Ray under RUN/final/training; an interrupted
evaluation continues with the same command and trains nothing twice. Only when all training has ended is the test set
read, after a line in RUN/final/openings.jsonl that says so. Everything then goes to RUN/final/final.json (described in
`analysis/results.py`), figures, tables, model.safetensors, model.json and a model card.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from analysis.openings import check_opening
from search.cli import (
    DONE,
    NOTHING_USABLE,
    SOME_FAILED,
    Flag,
    OptionalFloat,
    OptionalInt,
    OptionalStr,
    leave,
    parse,
    report_error,
)
from search.cluster import plan_resources
from search.place import check_run
from search.signals import Stopped, raise_stopped

if TYPE_CHECKING:
    from analysis.evaluating import Job


@dataclass(frozen=True, kw_only=True)
class Options:
    """Evaluate the best of a run on its sealed test set."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    top: OptionalInt = None
    """Best configurations to train anew, beside baseline and a random one. Default: 3, or those of an earlier call."""
    seeds: OptionalInt = None
    """Fresh seeds for each. Default: 5, or those of an earlier call; more extend what is trained."""
    epochs: OptionalInt = None
    """Epochs of each training. Default: the full budget of the run, or that of an earlier call."""
    again: Flag = False
    """Open the test set although it was opened before; every opening is counted on the page."""
    tta: Flag = False
    """Add a row for the winner with flip test-time augmentation."""
    without_validation: Flag = False
    """Train on the training rows alone, as published results do; the validation rows of the search are not used."""
    onnx: Flag = False
    """Export model.onnx as well; needs the packages onnx, onnxscript and onnxruntime."""
    data_dir: OptionalStr = None
    """Folder of the data sets. Default: that of the search."""
    concurrent: OptionalInt = None
    """Networks that train at once. Default: as many as fit."""
    cpus_per_trial: OptionalInt = None
    """CPUs, and threads, for each."""
    gpus_per_trial: OptionalFloat = None
    """GPUs for each; 0.25 packs four on one."""
    debug: Flag = False
    """Show tracebacks and Ray's own messages."""

    def check(self) -> None:
        """Raise ValueError at the first option that no evaluation could run with."""
        for name, value, high in (("top", self.top, 100), ("seeds", self.seeds, 1000), ("epochs", self.epochs, 10**5)):
            if value is not None and not 1 <= value <= high:
                raise ValueError(f"--{name} must lie in [1, {high}], got {value}")
        for name, value in (("concurrent", self.concurrent), ("cpus-per-trial", self.cpus_per_trial)):
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1, got {value}")
        if self.gpus_per_trial is not None and not 0 <= self.gpus_per_trial <= 1:
            raise ValueError(f"--gpus-per-trial must lie in [0, 1], got {self.gpus_per_trial:g}")
        if self.onnx:
            from analysis.export import check_onnx

            check_onnx()


def main(argv: list[str] | None = None) -> int:
    """The command.

    Returns:
        0 done; 2 bad input; 3 done, some trainings failed; 4 nothing usable; 128 + n stopped by signal n, resumable.
    """
    argv = sys.argv[1:] if argv is None else argv
    os.environ.setdefault("MPLBACKEND", "Agg")
    command = shlex.join(["python", "-m", "analysis.final", *argv])
    raise_stopped()
    try:
        options = parse(Options, argv, prog="python -m analysis.final")
        options.check()
        return _final(options, command=command)
    except (ValueError, OSError) as error:
        if "--debug" in argv:
            raise
        return report_error(error)
    except Exception as error:  # what broke the training as a whole: a full disk, every network failing alike
        if "--debug" in argv:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"error: {reason}; what is trained is saved; continue with: {command}", file=sys.stderr)
        return NOTHING_USABLE
    except Stopped as stop:
        return _stopped(stop, command)


def _stopped(stop: Stopped, command: str) -> int:
    print(f"{stop}; what is trained is saved; continue with:\n  {command}")
    return stop.code


def _final(options: Options, *, command: str) -> int:
    check_run(options.run)
    check_opening(options.run / "final", again=options.again)
    plan_resources(
        concurrent=options.concurrent, cpus_per_trial=options.cpus_per_trial, gpus_per_trial=options.gpus_per_trial
    )

    from analysis.evaluating import Job

    job = Job.open(options, command=command)
    job.announce()
    job.train()
    networks, failures = job.collect()
    for failure in failures:
        print(f"failed: {failure.contender}, seed {failure.seed}: {failure.cause}")
    if not any(network.contender.role != "random" for network in networks):
        print("error: no network can be evaluated; the test set stays closed", file=sys.stderr)
        return NOTHING_USABLE
    return _evaluate(job, networks, failures, job.fit_baselines(), command=command)


def _evaluate(job: "Job", networks: Sequence, failures: Sequence, baselines: Sequence, *, command: str) -> int:
    from analysis.networks import checksum
    from analysis.openings import record_opening
    from trainables import data

    record_opening(job.final_dir, command=command, why=job.why, checksum=checksum(networks))
    try:
        test = data.load_test(job.run.dataset, job.run.data_dir, like=job.dataset)
        results = job.evaluate(test, networks, failures, baselines)
    except Stopped as stop:
        again = "" if "--again" in shlex.split(command) else " --again"
        print("the test set was opened and there are no results: the next opening is counted as another one")
        return _stopped(stop, command + again)
    job.conclude(results)
    return SOME_FAILED if failures else DONE


if __name__ == "__main__":
    leave(main())
