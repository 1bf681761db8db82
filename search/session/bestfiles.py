"""best.json and best.py in the run folder: the best configuration, ready for --try and for code of your own."""

import json
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from search.process.text import counted, printable
from search.session.tradeoffs import front_facts
from search.storage.run import Run
from search.storage.standings import Standing, Standings
from search.storage.trials import epochs_reached
from trainables.data.notation import format_value
from trainables.files.whole import write_whole


def keep_best(run: Run, trials: list[FrozenTrial], run_dir: Path) -> None:
    """Write both files; without a fully trained trial, nothing is written.

    Raises:
        OSError: they cannot be written; the old ones stay.
    """
    standing = Standings(run.objective, trials).best
    if standing is None:
        return
    best = standing.trial
    facts = {
        "run": run.name,
        "space": run.space,
        "trial": best.number,
        "seed": best.user_attrs.get("seed"),
        "metric": run.metric,
        "direction": run.direction,
        "value": standing.value,
        **({"values": standing.values} if len(standing.values) > 1 else {}),
        "epochs": epochs_reached(best),
        "params": best.params,
        **front_facts(run, trials),
    }
    write_whole(run_dir / "best.json", json.dumps(facts, indent=2) + "\n")
    write_whole(run_dir / "best.py", _as_python(run, standing, facts))


def _as_python(run: Run, standing: Standing, facts: dict[str, Any]) -> str:
    """The text of best.py."""
    best = standing.trial
    value = f"{run.metric} {format_value(standing.value)}{standing.of_several}"
    what = f"{value} after {counted(epochs_reached(best), 'epoch')}"
    lines = [f"# The best trial of run {run.name}: trial {best.number}, {what}."]
    lines += [f"# Searched with {' '.join(f'--set {one.option}' for one in run.ranges)}"] if run.ranges else []
    lines += [f"# The range of {one}" for one in run.replaced]
    if (seed := facts["seed"]) is not None:
        lines += ["", f"SEED = {seed}" + "  # of this trial: rw.seed_everything(SEED)" * (run.source is not None)]
    lines += ["", "PARAMS = {"]
    lines += [f"    {name!r}: {value!r}," for name, value in best.params.items()]
    lines += ["}"]
    if front := facts.get("front"):
        lines += ["", f"# {run.metric} and {facts['second']['name']} of the front"]
        lines += ["FRONT = ["]
        lines += [
            f"    ({one['value']!r}, {one['second']!r}, {one['params']!r}),  # trial {one['trial']}" for one in front
        ]
        lines += ["]"]
    return "\n".join(map(printable, lines)) + "\n"
