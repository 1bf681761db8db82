"""Draw docs/live.svg: the live view of a search, from a published study as it was in the middle of its search.

python -m benchmarks.live_picture
"""

import io
import time
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.terminal_theme import MONOKAI

from search.session.console import SearchConsole
from search.storage.run import read_run
from search.storage.study import open_study

ROOT = Path(__file__).resolve().parent.parent
STUDY, STARTED, TRAINING = ROOT / "results" / "fashion", 35, (33, 34)
"""The study, how many of its trials have started, and which of them are training."""
COMMAND = "rungwise search --space fashion_small --max-macs 16M --trials 60 --name fashion"


def in_training(trial: FrozenTrial) -> FrozenTrial:
    """The trial after half of its epochs."""
    values = sorted(trial.intermediate_values.items())
    trial.state, trial.values = TrialState.RUNNING, None
    trial.intermediate_values = dict(values[: (len(values) + 1) // 2])
    return trial


def main() -> None:
    """Write the picture."""
    run, trials = read_run(STUDY), open_study(STUDY).get_trials()[:STARTED]
    console = Console(record=True, width=96, file=io.StringIO(), force_terminal=True, highlight=False)
    view = SearchConsole(run, console=console)
    ended = [trial for trial in trials if trial.number not in TRAINING]
    with view.following(ended):  # as `console` does when a search is resumed; its frames are not kept
        for number in TRAINING:
            view.started(in_training(trials[number]))
    epochs = [record["seconds"] for trial in ended for record in trial.user_attrs.get("history", ())]
    view._began, view._epochs = time.monotonic() - sum(epochs) / 2, len(epochs)  # two slots
    view._started_now = STARTED
    console.export_text(clear=True)
    console.print(f"$ {COMMAND}", style="bold")
    console.print(view._render())
    out = ROOT / "docs" / "live.svg"
    out.write_text(console.export_svg(title="rungwise", theme=MONOKAI), encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
