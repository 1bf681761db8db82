"""Searches of networks for ten tables against CatBoost and LightGBM, tuned with as many core minutes as each search.

    python -m benchmarks.tabular --keep FOLDER     # an interrupted one continues; needs the extra `boosting`
    python -m benchmarks.tabular --show            # the table of the last result

Three tables come with scikit-learn, seven are generated. Each is searched with `tabular_mlp`, `--repeats 3` and default
options; the winner is trained again on fresh seeds. Its networks, and the mean of their answers, are compared with the
boosting on the same sealed rows, whose bootstrap gives the interval of a difference. No table took part in the design
of the space, but all of the generators are our own.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn import datasets
from sklearn.tree import DecisionTreeRegressor

from benchmarks.harness import RESULTS, describe_conditions, write_result
from benchmarks.splits import hourly
from search.process.arguments import parse
from spaces.objectives import goal_named

LIBRARIES = ("catboost", "lightgbm")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How much to search."""

    tables: tuple[str, ...] = ()
    """Names of tables; all ten if none are given."""
    trials: int = 30
    repeats: int = 3
    """Trainings of the best trials of a search."""
    seeds: int = 5
    """Fresh seeds of the winner and of the boosting."""
    keep: Path | None = None
    """Folder in which tables and runs are kept."""
    show: bool = False
    """Only print the table of the last result."""


Make = Callable[[np.random.Generator], pd.DataFrame]
"""A table whose column `y` is the target."""


def bundled(name: str) -> Make:
    """A table of scikit-learn; its classes have names, since numbers could be read as a regression."""

    def make(rng: np.random.Generator) -> pd.DataFrame:
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return framed(x, y if name == "diabetes" else named(y))

    return make


def framed(x: Any, y: Any) -> pd.DataFrame:
    """Columns x0, x1, ... and y."""
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])]).assign(y=y)


def named(y: Any) -> np.ndarray:
    """Classes by name."""
    return np.array([f"class {label}" for label in y])


def friedman(rng: np.random.Generator) -> pd.DataFrame:
    """Five inputs that matter, smoothly, and five that do not (Friedman 1991)."""
    return framed(*datasets.make_friedman1(2000, noise=1.0, random_state=int(rng.integers(2**31))))


def clusters(rng: np.random.Generator) -> pd.DataFrame:
    """Three classes of four clusters each, with redundant columns and noise."""
    seed = int(rng.integers(2**31))
    x, y = datasets.make_classification(
        2000, 20, n_informative=8, n_redundant=4, n_classes=3, n_clusters_per_class=4, flip_y=0.03, random_state=seed
    )
    return framed(x, named(y))


def wine_like(rng: np.random.Generator) -> pd.DataFrame:
    """Whole marks of 3 to 9 from correlated measurements, most of which is noise, as of the quality of wines."""
    mixing = rng.normal(size=(11, 11)) / 3 + np.eye(11)
    x = np.exp(0.4 * rng.normal(size=(1600, 11)) @ mixing)
    z = (np.log(x) @ rng.normal(size=11)) / 2 - 0.3 * np.log(x[:, 0]) ** 2 + 0.8 * rng.normal(size=len(x))
    marks = np.clip(np.round(5.6 + 0.8 * (z - z.mean()) / z.std()), 3, 9)
    return framed(x.round(3), marks)


def shops(rng: np.random.Generator) -> pd.DataFrame:
    """Amounts that depend on numbers, on a category of 150 levels and on one of 5."""
    shop, kind = rng.integers(0, 150, 3000), rng.integers(0, 5, 3000)
    x = rng.normal(size=(3000, 4))
    level, slope = rng.normal(size=150), rng.normal(size=5)
    y = np.exp(0.5 * level[shop] + 0.6 * slope[kind] * x[:, 0] + 0.3 * np.abs(x[:, 1]) + 0.3 * rng.normal(size=3000))
    table = framed(x, y.round(3))
    return table.assign(shop=[f"shop {i}" for i in shop], kind=[f"kind {i}" for i in kind])


def steps(rng: np.random.Generator) -> pd.DataFrame:
    """Boxes of constant value, as trees have them, in columns of unequal scale."""
    x = np.exp(rng.normal(size=(3000, 8)) * np.linspace(0.2, 2, 8))
    tree = DecisionTreeRegressor(max_leaf_nodes=40, random_state=0).fit(x, rng.normal(size=3000))
    return framed(x, tree.predict(x) / tree.predict(x).std() + 0.3 * rng.normal(size=3000))


def waves(rng: np.random.Generator) -> pd.DataFrame:
    """Two classes on either side of a wavy surface in six columns, with 5 % wrong labels."""
    x = rng.uniform(-1, 1, size=(3000, 6))
    y = np.sin(4 * x[:, 0]) + np.sin(4 * x[:, 1] + x[:, 2]) + x[:, 3] * x[:, 4] > 0
    return framed(x, named((y ^ (rng.random(3000) < 0.05)).astype(int)))


TABLES: Mapping[str, Make] = {
    "breast_cancer": bundled("breast_cancer"),
    "digits": bundled("digits"),
    "diabetes": bundled("diabetes"),
    "friedman": friedman,
    "clusters": clusters,
    "wine_like": wine_like,
    "shops": shops,
    "steps": steps,
    "waves": waves,
    "hours": lambda rng: hourly(seed=int(rng.integers(1000)), rows=4000).rename(columns={"cnt": "y"}),
}
"""`hours` stands in for the bike sharing table, and is split by time."""
EXTRA = {"wine_like": ["--task", "regression"], "hours": ["--split", "time:when"]}
"""Options of single tables; some marks have too few rows for a class of their own."""


def evaluate(name: str, folder: Path, options: Options) -> dict[str, Any]:
    """What the winner of a search and the boosting reach on the sealed rows of a table."""
    path, runs = folder / f"{name}.csv", folder / "runs"
    if not path.exists():
        TABLES[name](np.random.default_rng((0, len(name)))).to_csv(path, index=False)
    words = [
        "--space",
        "tabular_mlp",
        "--data-dir",
        str(path),
        "--target",
        "y",
        "--name",
        name,
        "--runs-dir",
        str(runs),
    ]
    words += EXTRA.get(name, [])
    words = ["--resume", "--name", name, "--runs-dir", str(runs)] if (runs / name / "run.json").exists() else words
    _call("search.run", *words, "--trials", str(options.trials), "--repeats", str(options.repeats))
    final = runs / name / "final" / "final.json"
    if not final.exists() or "methods" not in json.loads(final.read_text())["export"].get("ensemble", {}):
        _call(
            "analysis.final",
            str(runs / name),
            "--top",
            "1",
            "--seeds",
            str(options.seeds),
            "--boosting",
            ",".join(LIBRARIES),
            "--ensemble",
            "networks",
            *(["--again"] if final.exists() else []),
        )
    return summarise(name, json.loads(final.read_text()))


def _call(module: str, *words: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *words], check=False)
    if done.returncode not in (0, 3):
        raise RuntimeError(f"{module} {' '.join(words)} ended with {done.returncode}")


def summarise(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """The values of the winner, of the mean of its networks and of each library; by how much the first two are
    better than each."""
    metric, mean = found["metric"], found["export"]["ensemble"]
    winner = next(one for one in found["entrants"] if one["name"] == found["winner"])
    rows = {"table": name, "metric": metric, "network": winner["scores"][metric], "params": winner["params"]}
    rows["mean"] = mean["scores"][metric]
    gaps = {one["name"]: one for one in mean["methods"]}
    for library in (one for one in found["baselines"] if one["name"] in LIBRARIES):
        gains = {"gain": library["difference"], "gain_of_mean": gaps[library["name"]]}
        rows[library["name"]] = {**library["scores"][metric], "settings": library["settings"]}
        rows[library["name"]] |= {key: _gain(gap, metric) for key, gap in gains.items()}
    return rows


def _gain(gap: dict[str, Any], metric: str) -> dict[str, float]:
    """A difference with a sign so that more is better."""
    value, *ends = (goal_named(metric).sign * gap[end] for end in ("value", "low", "high"))
    return {"value": value, "low": min(ends), "high": max(ends)}


def verdict(gain: dict[str, float]) -> str:
    """Of the network beside one library."""
    return "better" if gain["low"] > 0 else "worse" if gain["high"] < 0 else "no clear difference"


def show(results: list[dict[str, Any]]) -> None:
    """A row for each table."""
    beside = [f"{what} beside {name}" for what in ("network", "mean") for name in LIBRARIES]
    table = Table("table", "metric", "network", "mean", *LIBRARIES, *beside)
    for one in results:
        values = [f"{one[name]['value']:.4g}" for name in ("network", "mean", *LIBRARIES)]
        gains = [one[name].get(key) for key in ("gain", "gain_of_mean") for name in LIBRARIES]
        table.add_row(one["table"], one["metric"], *values, *(verdict(gain) if gain else "" for gain in gains))
    Console(width=180).print(table)


def main() -> None:
    """Search and compare; results are written after each table."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.tabular")
    path = RESULTS / "tabular.json"
    results = json.loads(path.read_text())["results"] if path.exists() else []
    if not options.show:
        with tempfile.TemporaryDirectory() as scratch:
            folder = options.keep or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            for name in options.tables or tuple(TABLES):
                found = evaluate(name, folder, options)
                results = [*(one for one in results if one["table"] != name), found]
                conditions = describe_conditions(
                    seed=0, trials=options.trials, repeats=options.repeats, seeds=options.seeds
                )
                write_result("tabular", {"results": results, "conditions": conditions})
    show(results)


if __name__ == "__main__":
    main()
