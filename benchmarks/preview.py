"""The forecast of `--dry-run` beside what the search then takes, by the two commands that a user types.

python -m benchmarks.preview --data-dir DATA                       # a small search of Fashion-MNIST, about two minutes

The machine has to be quiet from the preview to the end of the search.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.harness import describe_conditions, write_result
from search.storage.run import read_run
from search.storage.study import open_study

ROOT = Path(__file__).resolve().parent.parent
REQUIRED = 0.3
"""Share of the real time by which the forecast may be wrong."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Preview a search, search, and compare."""

    data_dir: Path = Path("data")
    """Folder of the data sets."""
    space: str = "fashion_arch"
    train_size: int = 6000
    trials: int = 12
    max_epochs: int = 9
    rounds: int = 1
    """Times that both are done, with another seed each time."""


def main() -> int:
    """Measure, print a line for each round and keep the figures; 1 when a forecast was further off than is allowed."""
    options = tyro.cli(Options)
    with tempfile.TemporaryDirectory() as folder:
        rounds = [measure(options, Path(folder), seed=seed) for seed in range(options.rounds)]
    conditions = describe_conditions(seed=0, **{k: str(v) for k, v in vars(options).items() if k != "data_dir"})
    result = {"rounds": rounds, "required": REQUIRED, "conditions": conditions}
    print(f"written to {write_result('preview', result)}")
    return int(any(abs(one["forecast_seconds"][1] / one["seconds"] - 1) > REQUIRED for one in rounds))


def measure(options: Options, runs: Path, *, seed: int) -> dict[str, Any]:
    """The figures of one preview and its search."""
    words = ["--space", options.space, "--train-size", str(options.train_size), "--trials", str(options.trials)]
    words += ["--max-epochs", str(options.max_epochs), "--data-dir", str(options.data_dir.resolve())]
    command = [sys.executable, "-m", "search.run", *words, "--runs-dir", str(runs), "--seed", str(seed)]
    preview_seconds = _time([*command, "--dry-run"])
    seconds = _time([*command, "--name", f"seed-{seed}"])
    run, trials = read_run(runs / f"seed-{seed}"), open_study(runs / f"seed-{seed}").trials
    assert run.forecast is not None, "a search remembers the preview that went before"
    low, middle, high = run.forecast["wall_seconds"]
    records = [record for trial in trials for record in trial.user_attrs.get("history", [])]
    print(
        f"seed {seed}: forecast {middle:.0f} s ({low:.0f} to {high:.0f}), took {seconds:.0f} s,"
        f" {middle / seconds:.2f} times; {run.forecast['epochs'][1]:.0f} and {len(records)} epochs, preview"
        f" {preview_seconds:.0f} s",
        flush=True,
    )
    return {
        "seed": seed,
        "forecast_seconds": [low, middle, high],
        "seconds": seconds,
        "forecast_training_seconds": run.forecast["trial_seconds"],
        "training_seconds": sum(record["seconds"] for record in records),
        "forecast_epochs": run.forecast["epochs"],
        "epochs": len(records),
        "num_measured": run.forecast["num_measured"],
        "preview_seconds": preview_seconds,
    }


def _time(command: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr}")
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
