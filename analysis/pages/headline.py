"""What the sealed test set said, for the first screen of the report: once it is known, it comes before all else."""

from typing import Any

from analysis import wording
from analysis.studies.criterion import BASELINE

Fact = tuple[str, str, str]
"""Label, value and what belongs to it."""


def headline(results: dict[str, Any] | str | None) -> list[Fact]:
    """The winner's score on the test set, and its difference to the baseline; nothing without a final evaluation.

    Args:
        results: final.json, as `read_results` gives it.
    """
    if not isinstance(results, dict):
        return []
    metric, entrants = results["metric"], {entrant["name"]: entrant for entrant in results["entrants"]}
    winner = entrants[results["winner"]]
    seeds = len(winner["by_seed"][metric])
    label = wording.named(metric, results.get("target_unit", ""))
    share = f"{wording.title(winner['name'])} on the sealed test set, mean of {seeds} fresh seed{'s' * (seeds > 1)}"
    facts = [(f"Test {label}", wording.between(metric, winner["scores"][metric]), share)]
    if winner["name"] == BASELINE:
        return [*facts, ("Against the baseline", "it is the baseline", "the search found nothing better")]
    if (found := winner.get("difference")) is not None:
        baseline = wording.between(metric, entrants[BASELINE]["scores"][metric])
        facts.append((_against(found, results), wording.gap(metric, found), f"the baseline reached {baseline}"))
    return facts


def _against(found: dict[str, float], results: dict[str, Any]) -> str:
    if found["low"] <= 0 <= found["high"]:
        return "Not clearly better than the baseline"
    better = (found["value"] < 0) == wording.is_less_better(results)
    return f"{'Better' if better else 'Worse'} than the baseline"
