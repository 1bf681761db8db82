"""The option --set of a resumed search: other ranges for the trials that are still to be drawn."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution

from search.process.faults import fault_point
from search.session import config
from search.session.options import Options
from search.session.setting import Wish, resolve_set
from search.storage.documented import DocumentedStorage
from search.storage.requests import now, num_asked_for, requests_of
from search.storage.run import Run, write_run
from search.storage.study import open_study
from search.storage.trials import is_infeasible, is_repeat
from spaces.asking import contains, describe, same_kind
from spaces.changes import Prior, Range, ReplacedRange
from spaces.levels import Parameter, parameters
from spaces.ranges import as_stated, change, check_ends, distribution_of, range_of
from spaces.space import Space


def with_ranges(
    run: Run, options: Options, space: Space, *, run_dir: Path, make_examiner: Callable[..., Any]
) -> tuple[Run, Space]:
    """The run and its space with the ranges that --set asks for; the same ones if nothing changes.

    Finished trials are not touched. The run keeps what the ranges were, and from which trial on others are drawn.

    Args:
        run: as it is continued, with its number of trials.
        space: of the run.
        make_examiner: given a space, makes the function that builds what is known of a configuration beforehand.

    Raises:
        ValueError: the space cannot have these ranges, the run has fixed these parameters, or no trial is left to be
            drawn; the line has the option.
    """
    if not options.wishes:
        return run, space
    stated = as_stated(space)
    known, found = parameters(change(stated, run.ranges).suggest), _resolved(run, options.wishes, stated)
    before = {name: range_of(name, one.ranges[0]) for name, one in known.items() if len(one.ranges) == 1}
    present = {one.parameter: one for one in run.ranges}
    changed = [one for one in found if one != (before | present).get(one.parameter)]
    if "set" in (config.used(options) or {}).get("options", {}):  # the run may have changed since the file was written
        changed = [one for one in changed if one not in [earlier.before for earlier in run.replaced]]
    if not changed:
        return run, space
    for one in changed:
        _check_free(one, run)
    number, replaced = _next_trial(run, run_dir), list(run.replaced)
    for one in changed:
        was = (before | present).get(one.parameter)
        text = _cases(known.get(one.parameter)) if was is None else was.text
        words = {"text": text, "now": one.text, "changed": now()}
        replaced.append(ReplacedRange(parameter=one.parameter, before=was, until=number, **words))
        present[one.parameter] = one
    run = replace(run, ranges=tuple(present.values()), replaced=tuple(replaced))
    space = change(stated, run.ranges, run.replaced)
    check_ends(space, make_examiner(space=space))
    return run, space


def _resolved(run: Run, wishes: Sequence[Wish], stated: Space) -> tuple[Range, ...]:
    """The ranges that these words ask for; scale and step are the present ones unless others are given."""
    present = {one.parameter: one for one in run.ranges}
    asked = {wish.name for wish in wishes}
    others = change(stated, [one for one in run.ranges if one.parameter not in asked])
    return resolve_set([_on_scale(wish, present.get(wish.name)) for wish in wishes], others)


def _on_scale(wish: Wish, present: Range | None) -> Wish:
    if present is None or present.kind == "categorical" or wish.ends is None or wish.scale or wish.step:
        return wish
    step = "" if present.step is None else f"{present.step:.12g}"
    return replace(wish, scale="log" if present.log else "linear", step=step)


def _cases(stated: Parameter | None) -> str:
    """The ranges that a space states for a parameter, one for each case."""
    return "not used" if stated is None else " or ".join(map(describe, stated.ranges))


def _next_trial(run: Run, run_dir: Path) -> int:
    """The number of the first trial that is drawn from the new ranges.

    Raises:
        ValueError: all trials have begun.
    """
    study = open_study(run_dir)
    trials, asked = study.get_trials(deepcopy=False), num_asked_for(run, requests_of(study))
    begun = sum(not is_infeasible(trial) and not is_repeat(trial) for trial in trials)
    if begun >= asked:
        raise ValueError(
            f"--set changes what new trials are drawn from, but all {asked} trials of run {run.name!r} have begun; add "
            f"--trials with a larger number"
        )
    return len(trials)


def _check_free(one: Range, run: Run) -> None:
    """Raise ValueError if the run has decided the values of this parameter, or expects values beyond its range."""
    name = one.parameter
    if name in run.fixed:
        raise ValueError(f"--set {name}: run {run.name!r} has --fix {name}={run.fixed[name]}; leave --set {name} out")
    if any(question.parameter == name for question in run.questions):
        raise ValueError(f"--set {name}: run {run.name!r} compares its values (--question); leave --set {name} out")
    for prior in (prior for prior in run.priors if prior.parameter == name):
        if not _allows(one, prior):
            raise ValueError(
                f"--set {one.option}: run {run.name!r} began with --prior {prior.option}, whose values must lie in the "
                f"range; choose a range that has them, or give another --name"
            )


def _allows(one: Range, prior: Prior) -> bool:
    found = distribution_of(one)
    if prior.values:
        return all(contains(found, value) for value in prior.values)
    is_range = not isinstance(found, CategoricalDistribution)
    return is_range and all(one.low <= end <= one.high for end in (prior.low, prior.high))  # type: ignore[operator]


def write_resumed(run_dir: Path, run: Run, storage: Any, space: Space) -> None:
    """Write run.json, which takes effect as a whole: before this the run has its earlier ranges, from then on the new.

    Args:
        storage: of the study, whose lease is held.
        space: of the run.

    Raises:
        ValueError: trials from other ranges cannot be stored.
    """
    _check_storable(run, storage, space)
    fault_point("resumed", 0)
    write_run(run_dir, run)
    fault_point("resumed", 1)


def _check_storable(run: Run, storage: Any, space: Space) -> None:
    """Raise ValueError if the storage writes through Optuna's own methods, which allow other ends of a range alone."""
    if not run.replaced or not isinstance(storage, DocumentedStorage):
        return
    present, stated = {one.parameter: distribution_of(one) for one in run.ranges}, parameters(as_stated(space).suggest)
    for one in run.replaced:
        known = stated.get(one.parameter)  # None: only another range asks for it
        earlier = [distribution_of(one.before)] if one.before else known.ranges if known else ()
        if not all(same_kind(present[one.parameter], other) for other in earlier):
            raise ValueError(
                f"--set {one.parameter}: other choices, or another scale, cannot be stored through Optuna's documented "
                f"methods (RUNGWISE_PLAIN=1, or an Optuna whose tables are not known); leave that setting out, or give "
                f"another --name"
            )
