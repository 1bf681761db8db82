"""What the search expected of more training when it ended, and whether it ended for that reason: sentences."""

from analysis.studies.trials import Trials
from search.storage.expected import Verdict


def ended_by_rule(trials: Trials) -> Verdict | None:
    """Why --until-gain ended the search; None if it did not, or if the search was continued afterwards."""
    verdict, _ = trials.expectations
    return verdict if verdict is not None and verdict.ended == len(trials.epochs) else None


def expectations(trials: Trials) -> str:
    """Why --until-gain ended the search, and what another hour was expected to gain; empty where that is not known."""
    _, expected = trials.expectations
    said = []
    if (verdict := ended_by_rule(trials)) is not None:
        text = verdict.text(trials.metric).replace("are expected", "were expected")
        said.append(f"No new trial began because of --until-gain: {text}.")
    if expected is not None and expected.trained == len(trials.epochs):
        said.append(f"When the search ended, {expected.text(trials.metric, past=True)}")
    return " ".join(said)
