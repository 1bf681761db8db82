"""What the search expected of more training when it ended, and whether it ended for that reason: sentences."""

from analysis.studies.trials import Trials


def expectations(trials: Trials) -> str:
    """Why --until-gain ended the search, and what another hour was expected to gain; empty where that is not known."""
    verdict, expected = trials.expectations
    said, trained = [], len(trials.epochs)  # more than a stored estimate knows if the search was continued afterwards
    if verdict is not None and verdict.trained == trained:
        text = verdict.text(trials.metric).replace("are expected", "were expected")
        said.append(f"The search ended by its own rule: {text}.")
    if expected is not None and expected.trained == trained:
        said.append(f"When the search ended, {expected.text(trials.metric, past=True)}")
    return " ".join(said)
