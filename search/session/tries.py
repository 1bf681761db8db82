"""The option --try: configurations of the user's own, read from JSON files and trained right after the baseline."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from search.session.taking import planned

if TYPE_CHECKING:
    from search.scheduling.constraints import Examine
    from search.storage.run import Run
    from spaces.space import Space

_Argument = tyro.conf.arg(name="try", metavar="FILE", help_behavior_hint="")
Tries = Annotated[tuple[str, ...], _Argument, tyro.conf.UseAppendAction]
"""The type of the option."""
_MOST_BYTES = 10**6
"""A larger file is no configuration."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A configuration from a file, complete or in part."""

    place: str
    """Where it is, for a message: the file, and its number in it if there are several."""
    params: dict[str, Any]


def read_tries(files: Sequence[str], *, word: str = "--try") -> list[Tried]:
    """The configurations in these files: an object of parameters, an object with `params`, or a list of either.

    Args:
        word: the option or verb that names the files, for messages.

    Raises:
        ValueError: a file cannot be read, or contains something else; the line has the file and the rule.
    """
    return [tried for file in files for tried in _in_file(Path(file), word)]


def _in_file(path: Path, word: str) -> Iterator[Tried]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{word} {path}: a file of configurations has at most {_MOST_BYTES:,} bytes")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{word} {path} cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"{word} {path} is not JSON ({error})") from None
    several = content if isinstance(content, list) else [content]
    if not several:
        raise ValueError(f"{word} {path} contains no configuration")
    for number, one in enumerate(several, 1):
        place = str(path) if len(several) == 1 else f"{path}, configuration {number}"
        params = one.get("params", one) if isinstance(one, dict) else one
        if not isinstance(params, dict) or not params:
            raise ValueError(f'{word} {place} must be an object such as {{"lr": 0.1, "depth": 3}}')
        for name, value in params.items():
            if not isinstance(value, str | int | float | bool | None) or (
                isinstance(value, float) and not math.isfinite(value)
            ):
                raise ValueError(f"{word} {place}: {name[:80]} must be a number, a text, true, false or null")
        yield Tried(place=place, params=params)


def with_plan(run: "Run", space: "Space", examine: "Examine", *, tries: Sequence[str]) -> "Run":
    """The run with its baseline and its plan: baseline, the files `tries`, what priors expect, earlier configurations.

    Parameters that a file or the priors leave out are as in the baseline. What priors expect, and what is from earlier
    searches, is left out if it exceeds a bound, or if the plan has no room for it.

    Args:
        examine: computes what is known of a configuration before it is trained.

    Raises:
        ValueError: the space has no such configuration, it exceeds a bound, or there are more than trials.
    """
    from search.scheduling.baseline import stated_baseline, with_baseline
    from search.scheduling.configurations import completed
    from search.storage.run import Planned
    from spaces.priors import as_expected

    run = with_baseline(run, space, examine)
    plan = list(run.plan)
    for tried in read_tries(tries):
        try:
            params = completed(tried.params, base=stated_baseline(run, space), run=run, space=space)
        except ValueError as error:
            raise ValueError(f"--try {tried.place}: {error}") from None
        examination = examine(space.decode(params))
        if examination.infeasible:
            raise ValueError(f"--try {tried.place}: {examination.infeasible}")
        if all(params != one.params for one in plan):
            plan.append(Planned(params=params, tag=f"try-{len(plan)}"))
    if tries and len(plan) > run.trials:
        raise ValueError(f"--trials must be at least {len(plan)}, with the baseline and --try, got {run.trials}")
    if run.priors and len(plan) < run.trials:
        base = {**(run.baseline or stated_baseline(run, space)), **run.fixed}
        params = as_expected(space.suggest, run.priors, base)
        if all(params != one.params for one in plan) and not examine(space.decode(params)).infeasible:
            plan.append(Planned(params=params, tag="prior"))
    for tag, params in planned(run, space, examine):
        if len(plan) < run.trials and all(params != one.params for one in plan):
            plan.append(Planned(params=params, tag=tag))
    return replace(run, plan=tuple(plan))
