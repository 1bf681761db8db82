"""What a search would do, before it does it: rungs, and sampled configurations with their sizes."""

import optuna
from rich.console import Console
from rich.table import Table

from search.study import Run
from spaces.space import Space
from trainables.cost import measure_cost
from trainables.data import Dataset

NUM_SHOWN = 8


def show_preview(run: Run, space: Space, dataset: Dataset, *, console: Console) -> None:
    """Print the rungs with the trials that reach them, and the baseline and a few random draws with their sizes."""
    console.print(
        f"{run.space} on {run.dataset}: {len(dataset.train):,} training rows, {len(dataset.validation):,} held out"
    )
    reaching = run.trials
    trained = 0
    previous = 0
    for rung in run.rungs:
        count = reaching if run.pruner != "none" else run.trials
        console.print(f"  about {count} of {run.trials} trials are trained to epoch {rung}")
        trained += count * (rung - previous)
        previous = rung
        reaching = max(1, reaching // run.reduction_factor)
    console.print(
        f"  about {trained:,} epochs, {100 * (1 - trained / (run.trials * run.epochs)):.0f} % fewer than training all\n"
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=run.seed))
    table = Table(box=None, pad_edge=False)
    for name in ("configuration", "weights", "multiply-adds"):
        table.add_column(name, justify="left" if name == "configuration" else "right")
    draws = [("baseline", dict(space.baseline))]
    for i in range(NUM_SHOWN):
        trial = study.ask()
        space.suggest(trial)
        draws.append((f"draw {i + 1}", trial.params))
    for name, params in draws:
        cost = measure_cost(space.decode(params).model, dataset)
        shown = " ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in params.items())
        table.add_row(f"{name}: {shown}", f"{cost.num_weights:,}", f"{cost.macs:,}")
    console.print(table)
