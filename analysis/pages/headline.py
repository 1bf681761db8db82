"""What the sealed test set said, for the first screen of the report: once it is known, it comes before all else."""

from analysis import wording
from analysis.studies.criterion import BASELINE
from analysis.studies.results import FinalResults

Fact = tuple[str, str, str]
"""Label, value and what belongs to it."""


def headline(results: FinalResults | None) -> list[Fact]:
    """The winner's score on the test set, and its difference to the baseline; nothing without a final evaluation.

    Args:
        results: of the final evaluation.
    """
    if results is None:
        return []
    metric, winner = results.metric, results.winning
    entrants = {entrant.name: entrant for entrant in results.entrants}
    seeds = len(winner.by_seed[metric])
    label = results.in_unit(metric)
    share = f"{wording.title(winner.name)} on the sealed test set, mean of {seeds} fresh seed{'s' * (seeds > 1)}"
    facts = [(f"Test {label}", wording.between(metric, winner.scores[metric]), share)]
    if winner.name == BASELINE:
        return [*facts, ("Against the baseline", "it is the baseline", "the search found nothing better")]
    if found := winner.difference:
        baseline = wording.between(metric, entrants[BASELINE].scores[metric])
        facts.append((_against(found, results), wording.gap(metric, found), f"the baseline reached {baseline}"))
    return facts


def _against(found: dict[str, float], results: FinalResults) -> str:
    if found["low"] <= 0 <= found["high"]:
        return "Not clearly better than the baseline"
    better = (found["value"] < 0) == results.is_less_better
    return f"{'Better' if better else 'Worse'} than the baseline"
