"""The parameters and ranges of a space as text, after a check that they can be stored, and a hash of them."""

import hashlib
import math
import warnings
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import BaseTrial

from spaces.asking import AskedTrial, pass_on
from spaces.space import Space

FINGERPRINT_DRAWS = 64
"""Configurations that are drawn to find the parameters and ranges of a space."""
_PLAIN = (str, int, float, bool, type(None))


def fingerprint(space: Space) -> str:
    """A hash of the parameters and ranges of a space; comments and names of functions in its file do not matter.

    Raises:
        ValueError: the space's `suggest` fails or has a choice that cannot be stored, or its baseline does not fit.
    """
    asked = {f"{name} {text}" for name, texts in ranges_of(space).items() for text in texts}
    _check_baseline(space)
    objective = space.objective("classification")
    asked |= {space.dataset, objective.metric, objective.direction}
    return hashlib.sha256("\n".join(sorted(asked)).encode()).hexdigest()[:16]


def ranges_of(space: Space) -> dict[str, list[str]]:
    """Every range of each parameter in some configurations, as Optuna's JSON, sorted; the draws are always the same.

    Raises:
        ValueError: `suggest` fails, or has a choice that cannot be stored.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found: dict[str, set[str]] = {}
    for _ in range(FINGERPRINT_DRAWS):
        trial = study.ask()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Choices for a categorical distribution")  # is an error below
            space.suggest(CheckedTrial(trial))
        for name, distribution in trial.distributions.items():
            found.setdefault(name, set()).add(distribution_to_json(distribution))
    return {name: sorted(texts) for name, texts in sorted(found.items())}


class CheckedTrial(AskedTrial):
    """Passes on what a space asks to another trial, after a check of names and choices."""

    def __init__(self, trial: BaseTrial) -> None:
        super().__init__(trial.number)
        self._trial = trial

    def answer(self, name: str, distribution: BaseDistribution) -> Any:
        _check_text(name, f"the name of parameter {name!a}")
        for choice in getattr(distribution, "choices", ()):
            _check_choice(name, choice)
        return pass_on(self._trial, name, distribution)


def _check_choice(name: str, choice: Any) -> None:
    """Raise ValueError unless a study has the same choice when it is read again."""
    if type(choice) not in _PLAIN or (isinstance(choice, float) and not math.isfinite(choice)):
        way_out = "give each choice a name, and look up what it stands for in your training code"
        if hasattr(choice, "tolist"):
            way_out = "convert them with .tolist()"
        raise ValueError(
            f"the choices of {name} must be texts, finite numbers, True, False or None, got {choice!r}; {way_out}"
        )
    if isinstance(choice, str):
        _check_text(choice, f"the choice {choice!a} of {name}")


def _check_text(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} must be Unicode text") from None


def _check_baseline(space: Space) -> None:
    try:
        space.decode(space.baseline)
    except ValueError as error:
        raise ValueError(f"the baseline of the space is not valid: {error}") from error
