"""Checks training code of the user's own: trains two epochs without a pause and two with one, and compares them."""

import multiprocessing as mp
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import optuna

import spaces.space
from search.diagnosis import trainings
from search.diagnosis.counterpart import Counterpart
from search.diagnosis.finding import Finding
from search.diagnosis.trainings import REPORTED, Setup, Straight
from search.process.disk import size
from search.process.environment import hint, named, only_allowed
from search.process.quiet import quietly
from search.process.silence import doing
from search.process.text import counted
from search.storage.run import load_data
from search.storage.source_code import canonical
from spaces.fingerprint import fingerprint
from spaces.guarded import describe_error
from spaces.levels import parameters
from spaces.objectives import likely_direction
from spaces.space import Space
from trainables.trainable import RestoreError, Setting

Apart = Callable[..., Any]
"""Calls a function with its arguments in a process of its own."""
SLOW_EPOCH_SECONDS = 60
"""If an epoch takes longer, the doctor does not check which rows the metric is measured on."""
_CHECKABLE = "to let the doctor check this, return the rows as arrays or tensors from Space(data=...)"


def examine_own(reference: str, *, env: Sequence[str] = (), apart: Apart | None = None) -> Iterator[Finding]:
    """The findings about a space whose configurations are trained by the user's own code.

    Args:
        env: names of environment variables that the code gets, as with the option --env of a search.
        apart: how to call a function in a process of its own; a spawned process when None.

    Raises:
        ValueError: the space cannot be loaded, or its data not be read; the line says why.
    """
    apart = apart or partial(_in_process, named(env, os.environ))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = spaces.space.load(reference)
    fingerprint(space)  # checks the ranges and the baseline
    counterpart = Counterpart(canonical(reference), space, variables=named(env, os.environ), thorough=True)
    other = _drawn(space)
    yield Finding(
        what="your code",
        found=f"{reference}: the baseline is valid, {counted(len(parameters(space.suggest)), 'hyperparameter')}",
    )
    yield from _check_direction(space)
    yield from _check_ranges(counterpart)
    packed = space.work.pack(load_data(space))
    with tempfile.TemporaryDirectory(prefix="rungwise-") as folder:
        setting = Setting(epochs=max(2, space.epochs), seed=1)
        setup = Setup(space=canonical(reference), packed=packed, setting=setting, folder=Path(folder))
        try:
            straight = apart(trainings.train_straight, setup, dict(space.baseline), other)
            yield from _check_other(straight, other)
            yield from _check_costs(straight, space)
            yield from _check_bits(setup, dict(space.baseline), straight, apart=apart, metric=space.metric)
            yield from _check_metric(setup, dict(space.baseline), straight, space, apart=apart)
        except Exception as error:
            do = "correct this; otherwise every trial fails"
            yield Finding(what="training", found=f"the baseline fails: {_noted_in(error)}", do=do, fatal=True)


def _in_process(variables: dict[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a fresh process with the environment of a training process, whose output is
    discarded."""
    fresh = partial(ProcessPoolExecutor, 1, mp_context=mp.get_context("spawn"))
    with doing("training your code"), only_allowed(variables), fresh() as pool:
        return pool.submit(quietly, _noted, function, *arguments).result()


def _noted(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns; an exception gets its file and line as a note, which survives the way to this
    process."""
    try:
        return function(*arguments)
    except Exception as error:
        error.add_note(describe_error(error) + hint(error))
        raise


def _noted_in(error: Exception) -> str:
    raised, *printed = getattr(error, "__notes__", [describe_error(error)])
    return raised + (f" ({printed[0]})" if printed else "")


def _drawn(space: Space) -> dict[str, Any]:
    """A configuration that is not the baseline."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=random.Random(1).randrange(1000)))
    trial = study.ask()
    space.suggest(trial)
    return dict(trial.params)


def _check_direction(space: Space) -> Iterator[Finding]:
    likely = likely_direction(space.metric)
    if space.direction and likely and likely != space.direction:
        found = f"{space.metric!r} will be {space.direction}d"
        yield Finding(what="direction", found=found, do=f"do you mean direction={likely!r}?")


def _check_ranges(counterpart: Counterpart) -> Iterator[Finding]:
    with doing("importing your code"):
        try:
            counterpart.check()
        except ValueError as error:
            found, _, do = str(error).partition("; ")
            yield Finding(what="suggest", found=found, do=do, fatal=True)


def _check_other(found: Straight, other: dict[str, Any]) -> Iterator[Finding]:
    if found.other_failure:
        drawn = ", ".join(f"{name} = {_value(value)}" for name, value in other.items())
        do = "if many configurations fail like this, correct the code or restrict the space"
        yield Finding(what="training", found=f"a random configuration fails: {found.other_failure} ({drawn})", do=do)


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _check_costs(found: Straight, space: Space) -> Iterator[Finding]:
    epoch = found.seconds[-1]
    total = f", so {space.epochs * epoch / 60:.1f} min for a full trial" if space.epochs * epoch > 60 else ""
    share = f"a checkpoint of {size(found.checkpoint_bytes)} takes {1000 * found.save_seconds:.0f} ms"
    yield Finding(what="an epoch", found=f"{epoch:.3g} s{total}; {share}")
    yield Finding(what="memory", found=f"a worker needs {size(found.memory_bytes)} with the baseline")
    if found.data_changed:
        do = "copy what you change: run.data is shared by all trials of a node, and is read-only there"
        yield Finding(what="run.data", found="train changes it in place", do=do, fatal=True)


def _check_bits(
    setup: Setup, params: dict[str, Any], straight: Straight, *, apart: Apart, metric: str
) -> Iterator[Finding]:
    differing = apart(trainings.train_again, setup, params, straight.records)
    noise = [one for one in differing if one.startswith(REPORTED) and one != f"{REPORTED}{metric}"]
    again = [one for one in differing if one not in noise]
    if again:
        again = differing
        yield Finding(
            what="repeatable",
            found=f"the same seed gives different values in another process ({_shown(again)})",
            do=_way_out(straight, "seed all random numbers with run.seed, and track your own generators"),
            fatal=True,
        )
    else:
        yield Finding(what="repeatable", found="the same seed gives the same bits in another process")
    if noise and not again:
        found = f"{_shown(noise)} in every training with the same seed; {metric} and the state do not"
        yield Finding(what="reports", found=found, do="this is fine for a measured time, and wrong for anything else")
    yield from _check_leaks(straight, [one for one in straight.leaked if one not in noise], is_repeatable=not again)
    try:
        paused = apart(trainings.train_after_pause, setup, params, straight.records)
    except (ValueError, RestoreError) as error:
        found = f"the state cannot be restored: {_noted_in(error) if isinstance(error, RestoreError) else error}"
        yield Finding(what="pause", found=found, do="see above", fatal=True)
        return
    paused = [one for one in paused if one not in noise]
    if paused and not again:
        yield Finding(
            what="pause",
            found=f"an epoch after a pause differs from the epoch without a pause ({_shown(paused)})",
            do=_way_out(straight, "track everything that the next epoch depends on, or keep it in run.state"),
            fatal=True,
        )
    elif not paused:
        yield Finding(what="pause", found="two epochs with a pause in between are identical to two without a pause")
        yield from _check_tracked(straight)


def _check_leaks(straight: Straight, leaked: list[str], *, is_repeatable: bool) -> Iterator[Finding]:
    """What another trial in the same process changes."""
    if leaked and is_repeatable:
        left = f"; changed at module level: {', '.join(straight.changed_globals)}" if straight.changed_globals else ""
        yield Finding(
            what="leaks",
            found=(f"a trial changes when another trial ran before it in the same process ({_shown(leaked)}){left}"),
            do="keep no state between trials at module level, such as caches or counters",
            fatal=True,
        )
    elif is_repeatable:
        yield Finding(what="leaks", found="a trial does not change when another one ran before it in the same process")


def _check_tracked(straight: Straight) -> Iterator[Finding]:
    """Untracked objects that two epochs do not reveal: a schedule that acts later, an optimizer with little state."""
    names = [name for name, changes in straight.untracked.items() if changes]
    if names:
        do = "the first two epochs do not need it, but later ones may: add it to run.track(...)"
        yield Finding(what="tracked", found=f"not tracked: {', '.join(names)}", do=do)


def _shown(differing: list[str]) -> str:
    return ", ".join(differing[:5]) + (f" and {len(differing) - 5} more" if len(differing) > 5 else "") + " differ"


def _way_out(straight: Straight, otherwise: str) -> str:
    if not straight.untracked:
        return otherwise
    names = ", ".join(straight.untracked)
    return f"not tracked: {names}; add to run.track(...), before the loop"


def _check_metric(
    setup: Setup, params: dict[str, Any], straight: Straight, space: Space, *, apart: Apart
) -> Iterator[Finding]:
    values = [record[space.metric] for record in (*straight.records, straight.other) if space.metric in record]
    if len(values) > 1 and len(set(values)) == 1:
        found = f"{space.metric} is {values[0]:.6g} after every epoch, and with a different configuration too"
        yield Finding(what="metric", found=found, do="report a value that depends on the model", fatal=True)
        return
    twins = [
        name
        for name in straight.records[0]
        if name != space.metric and "train" in name and all(r.get(name) == r[space.metric] for r in straight.records)
    ]
    if twins:
        found = f"{space.metric} is identical to {twins[0]}"
        yield Finding(what="metric", found=found, do="report the metric of the validation rows", fatal=True)
        return
    if straight.seconds[-1] > SLOW_EPOCH_SECONDS:
        yield Finding(what="metric", found="an epoch takes too long to check which rows it is measured on")
        return
    yield from _check_rows(apart(trainings.train_on_reversed_rows, setup, params, space.metric), space)


def _check_rows(parts: list[tuple[str, bool, bool]], space: Space) -> Iterator[Finding]:
    """The finding about the rows on which the metric is measured.

    Args:
        parts: name of each array of the data, whether it changes the weights, and whether it changes the metric.
    """
    held_out = [name for name, weights, metric in parts if metric and not weights]
    deciding = [name for name, weights, metric in parts if metric and weights]
    idle = [name for name, weights, metric in parts if not metric and not weights]
    if held_out:
        found = f"{space.metric} is measured on {' and '.join(held_out)} of run.data, which are not used for training"
        yield Finding(what="metric", found=found)
    elif deciding and idle:
        found = (
            f"{space.metric} depends only on rows that are used for training ({', '.join(deciding)}), not on "
            f"{', '.join(idle)}"
        )
        yield Finding(what="metric", found=found, do="report the metric of the validation rows", fatal=True)
    else:
        found = f"it is unclear whether {space.metric} is measured on held-out rows"
        yield Finding(what="metric", found=found, do=_CHECKABLE)
