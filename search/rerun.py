"""Trains one trial of a run again, in this process, and compares its values with the stored ones.

python -m search.rerun runs/NAME                       # the best trial
python -m search.rerun results/fashion --trial 12 --data-dir data
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from search.process.answer import add_to_answer
from search.process.arguments import (
    DONE,
    SOME_FAILED,
    Flag,
    OptionalInt,
    OptionalStr,
    answering,
    command,
    parse,
    report_error,
    run_command,
)
from search.process.environment import hint, named, only_allowed


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train one trial again and compare: identical to the bit on the same processor, threads and versions."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run, such as runs/digits_arch. Its study is not changed."""
    trial: OptionalInt = None
    """Number of the trial. Default: the best trial."""
    epochs: OptionalInt = None
    """Epochs to train. Default: all epochs of the trial."""
    data_dir: OptionalStr = None
    """Folder of the data sets. Default: the folder that the search used."""
    json: Flag = False
    """Print one JSON object, and everything else on stderr."""


@answering
def main(argv: list[str]) -> int:
    """The command; 0 when all values are equal, 3 when one is not, 2 for bad input."""
    try:
        options = parse(Options, argv, prog=command("search.rerun"))
        return DONE if _rerun(options) else SOME_FAILED
    except (ValueError, OSError) as error:
        return report_error(error)


def _rerun(options: Options) -> bool:
    from search.storage.run import data_of, read_run
    from search.storage.space import space_of
    from search.storage.study import open_study
    from trainables.trainable import close

    run = read_run(options.run)
    trial = _choose(open_study(options.run), run, options)
    epochs = _num_epochs(trial, options)
    space = space_of(run)
    dataset = data_of(run, space, data_dir=options.data_dir)
    print(
        f"trial {trial.number} of run {run.name!r}, {epochs} of {run.epochs} epochs; {run.metric} as stored,"
        " and trained again"
    )
    setting = _setting(run, trial)
    with only_allowed(named(run.env, os.environ)), _reporting(space, trial):  # as in the search
        training = space.work.build(space.decode(trial.params), dataset, setting)
        gaps = _compare(training, trial, run, epochs=epochs)
        close(training)
    verdict = _verdict(run, max(gaps), device=setting.device)
    print(verdict)
    add_to_answer(
        error=verdict if max(gaps) else None,
        trial=trial.number,
        epochs=epochs,
        identical=not max(gaps),
        largest_difference=max(gaps),
        verdict=verdict,
    )
    return not max(gaps)


@contextmanager
def _reporting(space: Any, trial: Any) -> Iterator[None]:
    """Raise ValueError, in one line, where training code of the user's own fails."""
    from spaces.guarded import CodeError, describe_error

    try:
        yield
    except CodeError:
        raise
    except (Exception, SystemExit) as error:
        if not space.own:
            raise
        raise CodeError(f"trial {trial.number} fails: {describe_error(error)}{hint(error)}") from error


def _setting(run: Any, trial: Any) -> Any:
    """The `Setting` with which the search trained the trial, on a GPU if it used one and there is one."""
    import torch

    from trainables.trainable import Setting

    return Setting(
        epochs=run.epochs,
        seed=trial.user_attrs["seed"],
        trial=trial.number,
        device="cuda" if run.machine.get("gpus_per_trial") and torch.cuda.is_available() else "cpu",
        threads=run.cpus_per_trial,
        keep=run.keep,
    )


def _compare(training: Any, trial: Any, run: Any, *, epochs: int) -> list[float]:
    """The absolute difference between the stored value of each epoch and the one trained now."""
    import torch

    from search.process.silence import doing

    stored, gaps = dict(sorted(trial.intermediate_values.items())), []
    threads: Any = _threads(trial, run)
    for epoch in list(stored)[:epochs]:
        torch.set_num_threads(threads.get(epoch, run.cpus_per_trial))
        with doing(f"training epoch {epoch}"):
            again = training.run_epoch()[run.metric]
        gaps.append(abs(again - stored[epoch]))
        print(
            f"  epoch {epoch:3d}  {stored[epoch]:.7g}  {again:.7g}" + ("" if not gaps[-1] else "  differs"), flush=True
        )
    return gaps


def _num_epochs(trial: Any, options: Options) -> int:
    known = len(trial.intermediate_values)
    if options.epochs is not None and not 1 <= options.epochs <= known:
        raise ValueError(
            f"--epochs must lie in 1..{known} (trial {trial.number} has {known} epochs), got {options.epochs}"
        )
    return known if options.epochs is None else options.epochs


def _choose(study: Any, run: Any, options: Options) -> Any:
    """The trial named by the options, or the best one.

    Raises:
        ValueError: there is no such trial, or it has no epoch.
    """
    from search.storage.standings import best_trial

    trials = study.get_trials(deepcopy=False)
    if options.trial is None:
        best = best_trial(trials, run.objective)
        if best is None:
            raise ValueError(f"{options.run} has no fully trained trial; select one with --trial")
        return best
    found = next((trial for trial in trials if trial.number == options.trial), None)
    if found is None:
        raise ValueError(f"--trial must lie in 0..{len(trials) - 1}, got {options.trial}")
    if not found.intermediate_values:
        raise ValueError(f"trial {options.trial} has no finished epoch; select another with --trial")
    return found


def _threads(trial: Any, run: Any) -> dict[int, int]:
    """Epoch -> threads it was trained with, which a resumed run may have changed; records of older runs lack them."""
    history = trial.user_attrs.get("history", [])
    return {record["epoch"]: record.get("threads", run.cpus_per_trial) for record in history}


def _verdict(run: Any, gap: float, *, device: str) -> str:
    """What the largest difference means, and what could explain it."""
    if not gap:
        return "identical to the bit"
    from search.runtime.machine import cpu_model, gpu_model
    from search.runtime.versions import versions

    trained = run.machine.get("gpu_model") if run.machine.get("gpus_per_trial") else run.machine.get("cpu_model")
    then = {"processor": trained, **run.versions}
    now = {"processor": gpu_model() if device == "cuda" else cpu_model(), **versions()}
    changed = [f"{name} {then[name]} then, {now.get(name)} now" for name in then if then[name] != now.get(name)]
    return f"differs by at most {gap:.3g}; " + ("; ".join(changed) or "the processor and versions are the same")


if __name__ == "__main__":
    run_command(main)
