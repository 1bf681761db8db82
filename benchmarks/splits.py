"""Whether the error on validation rows predicts the error on new rows, under a random and under the fitting split.

    python -m benchmarks.splits            # a few minutes on one core
    python -m benchmarks.splits --show     # the table of the last result

Each table has a planted dependence between its rows: a drift over time, an effect of groups, or copies of rows. New
rows follow the training rows in time, belong to new groups, or are no copies. The same gradient boosting is fitted to
the training rows of each split. A ratio of the two errors below 1 is optimism. A table like that of bike sharing
(hours, with trend, season and weather) shows that a split by time gives the rows of a split by hand.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy import stats
from sklearn.ensemble import HistGradientBoostingRegressor

from benchmarks.harness import RESULTS, describe_conditions, write_result
from search.process.arguments import parse
from trainables.data.dataset import Dataset
from trainables.data.options import TableOptions
from trainables.data.split import parse_split
from trainables.data.table import encode
from trainables.sources.load import load, load_test

NUM_HOURS = 17_379
"""Rows of the bike sharing table of the UCI repository."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure how optimistic validation errors are."""

    tables: int = 20
    """Tables of each kind."""
    rows: int = 1_000
    """Rows of a table."""
    show: bool = False
    """Only print the table of the last result."""


Future = Callable[[pd.Series], pd.DataFrame]
"""New rows, given the days of the training rows if there are days."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A dependence between rows."""

    make: Callable[[np.random.Generator, int], tuple[pd.DataFrame, "Future"]]
    """A table of so many rows, and what makes new ones."""
    split: str
    """The option that fits it, which the warning must name."""


def drifting(rng: np.random.Generator, rows: int) -> tuple[pd.DataFrame, Future]:
    """Daily rows whose level wanders; new rows are another course of the level after the last training row."""
    level = np.cumsum(_steps(rng, rows))
    table = _daily(rng, level, first=0)

    def future(days: pd.Series) -> pd.DataFrame:
        last = int(days.max())
        return _daily(rng, level[last] + np.cumsum(_steps(rng, round(0.16 * rows))), first=last + 1)

    return table, future


def _steps(rng: np.random.Generator, rows: int) -> np.ndarray:
    return 0.15 * rng.normal(size=rows)


def _daily(rng: np.random.Generator, level: np.ndarray, *, first: int) -> pd.DataFrame:
    x = rng.normal(size=(len(level), 3))
    y = x[:, 0] - 0.5 * x[:, 1] ** 2 + level + 0.5 * rng.normal(size=len(level))
    days = pd.date_range("1970-01-01", periods=first + len(level)).strftime("%Y-%m-%d")[first:]
    return pd.DataFrame(x, columns=list("abc")).assign(day=days, y=y)


def grouped(rng: np.random.Generator, rows: int) -> tuple[pd.DataFrame, Future]:
    """Ten rows of each patient, with traits and a level of the patient; new rows are of new patients."""
    patients = rows // 10 + 100
    patient = np.repeat(np.arange(patients), 10)
    traits, level = rng.normal(size=(patients, 3)), 1.5 * rng.normal(size=patients)
    x = rng.normal(size=(len(patient), 2))
    y = x[:, 0] + 0.5 * traits[patient, 0] + level[patient] + 0.5 * rng.normal(size=len(patient))
    table = pd.DataFrame(traits[patient], columns=list("uvw")).assign(a=x[:, 0], b=x[:, 1], patient=patient, y=y)
    old = table[table.patient < rows // 10].sample(frac=1, random_state=int(rng.integers(2**31)))
    return old, lambda days: table[table.patient >= rows // 10]


def repeated(rng: np.random.Generator, rows: int) -> tuple[pd.DataFrame, Future]:
    """Every row is there twice on average; new rows are no copies."""
    x = rng.normal(size=(rows // 2 + 1000, 4))
    y = x[:, 0] + np.sin(2 * x[:, 1]) + rng.normal(size=len(x))
    table = pd.DataFrame(x, columns=list("abcd")).assign(y=y)
    return table.iloc[rng.integers(0, rows // 2, rows)], lambda days: table.iloc[rows // 2 :]


KINDS = {
    "drift": Kind(make=drifting, split="time:day"),
    "groups": Kind(make=grouped, split="group:patient"),
    "copies": Kind(make=repeated, split="distinct"),
}


def hourly(seed: int = 0, rows: int = NUM_HOURS) -> pd.DataFrame:
    """Hourly counts with trend, season, hour of the day and weather, as of a bike sharing system."""
    rng = np.random.default_rng(seed)
    when = pd.date_range("2011-01-01", periods=rows, freq="h")
    noise = np.zeros((2, rows))
    for i in range(1, rows):
        noise[:, i] = (0.98, 0.9) * noise[:, i - 1] + rng.normal(size=2) * (0.2, 0.15)
    year = when.day_of_year.to_numpy() / 365.25
    temperature = 0.5 - 0.3 * np.cos(2 * np.pi * (year - 0.05)) + 0.08 * noise[0]
    hour, work = when.hour.to_numpy(), (when.day_of_week < 5).astype(int)
    rush = np.exp(-0.5 * ((hour - 8) / 1.2) ** 2) + 1.3 * np.exp(-0.5 * ((hour - 17.5) / 1.8) ** 2)
    shape = np.where(work == 1, rush, np.exp(-0.5 * ((hour - 14) / 4) ** 2)) + 0.05
    level = 180 * (1 + 0.6 * np.arange(rows) / rows) * shape * (0.3 + temperature) * np.exp(noise[1] * 0.5)
    return pd.DataFrame(
        {
            "when": when.strftime("%Y-%m-%d %H:%M"),
            "month": when.month, "hr": hour, "weekday": when.day_of_week, "workingday": work,
            "temp": temperature.round(3), "hum": rng.uniform(0.2, 1, rows).round(2), "cnt": rng.poisson(level),
        }
    )  # fmt: skip


def judge(table: pd.DataFrame, future: Future, split: str, *, seed: int) -> dict[str, Any]:
    """The error on validation rows and on new rows, and what was warned of."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        table.to_csv(path, index=False)
        found = load("csv", path, validation_fraction=0.2, table=TableOptions(target="y"), split=parse_split(split))
    named = pd.DataFrame(found.train.x.numpy(), columns=pd.Index([column.name for column in found.columns]))
    new = future(named.get("day", pd.Series(dtype=float)))
    cells = new.assign(day=days_of(new["day"])) if "day" in new else new
    x = encode({column.name: cells[column.name].to_numpy(float) for column in found.columns}, found.columns)
    model = fitted(found.train.x.numpy(), found.train.y.numpy(), seed=seed)
    judged = rmse(model, found.validation.x.numpy(), found.validation.y.numpy())
    return {"validation": judged, "new": rmse(model, x, new["y"].to_numpy()), "notes": list(found.notes)}


def days_of(texts: pd.Series) -> np.ndarray:
    """Dates as days after 1970-01-01."""
    return (pd.to_datetime(texts) - pd.Timestamp("1970-01-01")).dt.days.to_numpy(float)


def fitted(x: np.ndarray, y: np.ndarray, *, seed: int) -> HistGradientBoostingRegressor:
    """Gradient boosting on these rows."""
    return HistGradientBoostingRegressor(max_iter=100, random_state=seed).fit(x, y)


def rmse(model: HistGradientBoostingRegressor, x: np.ndarray, y: np.ndarray) -> float:
    """The error of a model on these rows."""
    return float(np.sqrt(np.mean((model.predict(x) - y) ** 2)))


def measure_kind(kind: Kind, *, tables: int, rows: int) -> dict[str, Any]:
    """The optimism of both splits on tables of one kind, and how many tables were warned of."""
    found: dict[str, Any] = {"split": kind.split, "tables": tables}
    for split in ("random", kind.split):
        judged = []
        for seed in range(tables):
            table, future = kind.make(np.random.default_rng(seed), rows)
            judged.append(judge(table, future, split, seed=seed))
        logs = np.log([one["validation"] / one["new"] for one in judged])
        middle = float(logs.mean())
        half = float(stats.t.ppf(0.975, tables - 1) * logs.std(ddof=1) / np.sqrt(tables))
        warned = sum(any(f"--split {kind.split}" in note for note in one["notes"]) for one in judged)
        found["random" if split == "random" else "fitting"] = {
            "ratio": np.exp(middle), "low": np.exp(middle - half), "high": np.exp(middle + half), "warned": warned,
        }  # fmt: skip
    return found


def by_hand(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Training, validation and test rows of a table in the order of time: the last fifth, and a fifth of the others."""
    test = len(table) // 5
    validation = round(0.2 * (len(table) - test))
    ends = len(table) - test - validation, len(table) - test
    return table.iloc[: ends[0]], table.iloc[ends[0] : ends[1]], table.iloc[ends[1] :]


def measure_hours(rows: int = NUM_HOURS) -> dict[str, Any]:
    """Errors of the same model under a split by time, by hand and at random; and on the test rows."""
    table = hourly(rows=rows)
    options = TableOptions(target="cnt", task="regression")
    errors: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "hours.csv")
        table.sample(frac=1, random_state=0).to_csv(path, index=False)
        for split in ("random", "time:when"):
            found = load("csv", path, validation_fraction=0.2, table=options, split=parse_split(split))
            errors[split] = _errors(found, path)
    numbers = table.assign(when=(pd.to_datetime(table["when"]) - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1))
    train, *others = (part.drop(columns="cnt").to_numpy(np.float32) for part in by_hand(numbers))
    y, *truths = (part["cnt"].to_numpy(np.float32) for part in by_hand(numbers))
    model = fitted(train, y, seed=0)
    hand = [rmse(model, x, truth) for x, truth in zip(others, truths, strict=True)]
    errors["by hand"] = dict(zip(("validation", "test"), hand, strict=True))
    errors["warned"] = any("--split time:when" in note for note in errors["random"].pop("notes"))
    del errors["time:when"]["notes"]
    return {"rows": rows, **errors}


def _errors(found: Dataset, path: Path) -> dict[str, Any]:
    test = load_test("csv", path, like=found)
    order = np.argsort(found.train.x[:, 0].numpy(), kind="stable")  # boosting depends on the order of its rows
    model = fitted(found.train.x.numpy()[order], found.train.y.numpy()[order], seed=0)
    return {
        "validation": rmse(model, found.validation.x.numpy(), found.validation.y.numpy()),
        "test": rmse(model, test.x.numpy(), test.y.numpy()),
        "notes": list(found.notes),
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print the result as two tables."""
    shown = Table("rows", "split", "validation error / error on new rows", "tables warned of", title="optimism")
    for name, found in result["kinds"].items():
        for split in ("random", "fitting"):
            one = found[split]
            text = f"{one['ratio']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
            option = "random" if split == "random" else found["split"]
            shown.add_row(name, option, text, f"{one['warned']} of {found['tables']}")
    console.print(shown)
    hours = Table("split", "RMSE, validation", "RMSE, test", title=f"{result['hours']['rows']:,} hours")
    for split in ("random", "time:when", "by hand"):
        errors = result["hours"][split]
        hours.add_row(split, f"{errors['validation']:.3f}", f"{errors['test']:.3f}")
    console.print(hours)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    options = parse(Options, sys.argv[1:] if argv is None else argv, prog="python -m benchmarks.splits")
    if options.show:
        return show(json.loads((RESULTS / "splits.json").read_text())["result"], Console())
    kinds = {name: measure_kind(kind, tables=options.tables, rows=options.rows) for name, kind in KINDS.items()}
    result = {"kinds": kinds, "hours": measure_hours()}
    conditions = describe_conditions(seed=0, tables=options.tables, rows=options.rows)
    path = write_result("splits", {"result": result, "conditions": conditions})
    show(result, Console())
    print(path)
    return None


if __name__ == "__main__":
    main()
