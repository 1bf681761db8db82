"""The metric of the search on test rows, which may have another name there, and another scale."""

from collections.abc import Iterable
from dataclasses import replace

from analysis.evaluation.contenders import Contender
from analysis.scores.metrics import Evaluation
from analysis.studies.trials import Trials
from analysis.wording import is_share

AS_GIVEN = "_as_given"
"""Ends the name of a number that is called as a share is, and does not lie in 0..1: `test` returns it in percent."""
_PREFIXES = ("validation_", "valid_", "val_", "eval_", "dev_", "test_", "validation/", "valid/", "val/", "eval/")
_SHORT = {"acc": "accuracy", "loss": "log_loss", "f1": "macro_f1"}
_USUAL = ("accuracy", "rmse", "macro_f1")


def counterparts(metric: str) -> list[str]:
    """Names that the metric of a search may have on test rows: `val_loss`, `loss`, `log_loss`."""
    stems = [metric, *(metric.removeprefix(prefix) for prefix in _PREFIXES)]
    return list(dict.fromkeys([*stems, *(_SHORT[stem] for stem in stems if stem in _SHORT)]))


def main_metric(asked: str, found: Evaluation) -> str:
    """The counterpart of the metric that the search went by; without one the task's usual metric, or the first."""
    names = counterparts(asked)
    given = (f"{name}{AS_GIVEN}" for name in names)
    return next((name for name in (*names, *given, *_USUAL) if name in found.scores), next(iter(found.scores)))


def is_counterpart(metric: str, asked: str) -> bool:
    """Whether a metric on test rows is the one that the search went by."""
    return metric.removesuffix(AS_GIVEN) in counterparts(asked)


def given_name(name: str, values: Iterable[float]) -> str:
    """The name of a number that `test` returns for each network; another one for a share that it returns in percent."""
    return f"{name}{AS_GIVEN}" if is_share(name) and not all(0 <= value <= 1 for value in values) else name


def scale_to_test(trials: Trials, metric: str) -> float | None:
    """The factor that brings values of the search to the scale of its counterpart on test rows.

    Some code reports a share in percent. The values of all epochs together tell: one alone may be 0.9 %.

    Args:
        trials: of the search.
        metric: the counterpart.

    Returns:
        None if the values of the search are neither in 0..1 nor in percent, and so cannot be compared.
    """
    stem = metric.removesuffix(AS_GIVEN)
    if not is_share(stem):
        return 1.0
    tested, searched = 100.0 if metric == stem else 1.0, replace(trials, metric=stem).points
    if searched == 1 and not trials.epochs["value"].between(0, 100).all():
        return None
    return searched / tested


def on_scale(contender: Contender, factor: float | None) -> Contender:
    """The contender with its values in the search on another scale; without its search value for None."""
    if factor is None:
        return replace(contender, search_value=None)
    search, chosen = (None if v is None else factor * v for v in (contender.search_value, contender.criterion))
    return replace(contender, search_value=search, criterion=chosen)
