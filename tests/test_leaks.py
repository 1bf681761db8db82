"""Warnings before a search: rows in time, ids that repeat, copies across a split; and none for independent rows."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from benchmarks.splits import by_hand, hourly
from trainables.data.options import TableOptions
from trainables.data.split import parse_split
from trainables.sources.load import load, load_test

NUM_ROWS = 600
RNG = np.random.default_rng(0)


def notes(folder: Path, table: pd.DataFrame, *, split: str = "random", drop: tuple[str, ...] = ()) -> str:
    table.to_csv(folder / "t.csv", index=False)
    options = TableOptions(target="y", drop=drop)
    found = load("csv", folder / "t.csv", validation_fraction=0.2, table=options, split=parse_split(split))
    return "\n".join(note for note in found.notes if "as days after" not in note)


def series(*, num: int = NUM_ROWS) -> np.ndarray:
    """An autoregression: each value is near the one before."""
    values = np.zeros(num)
    for i in range(1, num):
        values[i] = 0.9 * values[i - 1] + RNG.normal()
    return values


def independent(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    num = int(rng.choice([120, 400, 1000]))
    x = rng.normal(size=(num, 4))
    table = pd.DataFrame((np.exp(x) if seed % 4 == 1 else x).round(int(rng.choice([1, 3]))), columns=list("abcd"))
    table["city"] = rng.choice([f"city {i}" for i in range(20)], num)
    table["age"] = rng.integers(18, 90, num)
    table["customer_id"] = rng.integers(0, num // 5, num)
    effects = dict(zip(sorted(table.city.unique()), rng.normal(size=20), strict=False))
    y = 2 * x[:, 0] + table.age / 20 + table.city.map(effects) + rng.normal(size=num)
    table["y"] = np.where(y > np.median(y), "high", "low") if seed % 3 == 1 else y.round(3)
    by = [["age"], None, ["y"], ["city"], ["a"], ["city", "age"]][seed % 6]
    return table.sort_values(by) if by else table


def classical() -> Iterator[pd.DataFrame]:
    for name in ("iris", "wine", "breast_cancer", "diabetes", "digits"):
        yield getattr(datasets, f"load_{name}")(as_frame=True).frame.rename(columns={"target": "y"})
    for seed in range(2):
        for x, y in (
            datasets.make_friedman1(300, random_state=seed),
            datasets.make_moons(300, noise=0.1, random_state=seed),
        ):
            yield pd.DataFrame(x, columns=[f"f{i}" for i in range(x.shape[1])]).assign(y=y)
    yield pd.DataFrame({name: RNG.choice(list("uvw"), 300) for name in "pqry"})


def test_tables_of_independent_rows_raise_no_alarm(tmp_path: Path) -> None:
    tables = [*map(independent, range(12)), *classical()]
    assert len(tables) >= 20
    said = [note for table in tables for note in notes(tmp_path, table).splitlines()]
    assert len(said) <= 12
    assert all("'customer_id' of a training row, and its name says that these belong" in note for note in said)


@pytest.mark.parametrize("name", ["customer_age", "num_customers", "school_year", "household_size", "user_type"])
def test_a_quantity_of_a_customer_is_no_id(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=422), name: rng.integers(0, 70, 422), "y": rng.normal(size=422)})
    assert notes(tmp_path, table) == ""


@pytest.mark.parametrize("name", ["customer", "userId", "Patient", "shop_id", "member_no", "uuid"])
def test_a_column_that_is_named_as_an_id_is_said_if_its_values_repeat(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=422), name: rng.integers(0, 70, 422), "y": rng.normal(size=422)})
    said = notes(tmp_path, table)
    assert f"validation rows have the {name!r} of a training row, and its name says that these belong together" in said
    assert f"add --split group:{name}" in said
    assert notes(tmp_path, table, split=f"group:{name}") == ""
    assert notes(tmp_path, table.rename(columns={name: "score"})) == ""
    assert notes(tmp_path, table.assign(**{name: range(422)}).drop(columns="a").assign(a=table.a)).count("belong") == 0


@pytest.mark.parametrize("column", ["day", "n", None])
def test_rows_in_time_are_said_with_the_split_that_helps(tmp_path: Path, column: str | None) -> None:
    table = pd.DataFrame({"a": RNG.normal(size=NUM_ROWS), "y": series()})
    if column == "day":
        days = pd.date_range("2024-01-01", periods=NUM_ROWS)
        table = table.assign(day=days.strftime("%Y-%m-%d")).sample(frac=1, random_state=0)
    elif column:
        table = table.assign(n=range(NUM_ROWS))
    said = notes(tmp_path, table)
    assert ("rows follow each other in time" if column else "rows may follow each other in time") in said
    assert "neighbouring rows are alike in 'y'" in said
    assert (f"add --split time:{column}" if column else "add --split time, which uses the order of the rows") in said
    assert "follow each other" not in notes(tmp_path, table, split=f"time:{column}" if column else "time")


def test_slow_inputs_and_classes_in_time_are_said_as_well(tmp_path: Path) -> None:
    table = pd.DataFrame({"heat": series(), "y": RNG.choice(["on", "off"], NUM_ROWS)})
    assert "neighbouring rows are alike in 'heat'" in notes(tmp_path, table)


def test_dates_alone_are_said_with_less_certainty_also_in_a_column_that_is_left_out(tmp_path: Path) -> None:
    days = [f"2024-{1 + i // 28 % 12:02d}-{1 + i % 28:02d}" for i in range(NUM_ROWS)]
    table = pd.DataFrame({"day": days, "a": RNG.normal(size=NUM_ROWS), "y": RNG.normal(size=NUM_ROWS)})
    for drop in ((), ("day",)):
        said = notes(tmp_path, table, drop=drop)
        assert "rows may follow each other in time ('day' contains dates); random test" in said
        assert "add --split time:day" in said


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("patient", "P{:03d}".format),
        ("subjectId", str),
        ("code", "AB-{:04d}".format),
        ("nr", lambda k: k * 7919 % 5000),
    ],
)
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_ids_that_repeat_are_said_with_the_split_that_helps(tmp_path: Path, name: str, write, task: str) -> None:
    group = RNG.integers(0, 60, NUM_ROWS)
    y = RNG.normal(size=60)[group] + 0.4 * RNG.normal(size=NUM_ROWS)
    target = np.where(y > 0, "ill", "well") if task == "classification" else y
    table = pd.DataFrame({name: [write(k) for k in group], "a": RNG.normal(size=NUM_ROWS), "y": target})
    said = notes(tmp_path, table)
    assert f"validation rows have the {name!r} of a training row" in said
    assert f"add --split group:{name}" in said
    assert "similar targets" in notes(tmp_path, table, drop=(name,))
    assert not notes(tmp_path, table, split=f"group:{name}")


def test_copies_across_the_split_are_counted_and_distinct_rows_end_them(tmp_path: Path) -> None:
    table = pd.DataFrame(RNG.normal(size=(NUM_ROWS, 3)), columns=list("aby"))
    twice = pd.concat([table, table.head(300)]).sample(frac=1, random_state=0)
    said = notes(tmp_path, twice)
    assert "of 144 validation rows" in said
    assert "have the inputs of a training row" in said
    assert "--split distinct" in said
    assert not notes(tmp_path, twice, split="distinct")


def test_nearly_equal_rows_across_the_split_are_counted(tmp_path: Path) -> None:
    table = pd.DataFrame(RNG.normal(size=(NUM_ROWS, 6)), columns=list("abcdey"))
    near = table.head(200) + 0.002 * RNG.normal(size=(200, 6))
    said = notes(tmp_path, pd.concat([table, near]).sample(frac=1, random_state=0))
    assert "validation rows are nearly equal to a training row in all numbers and the target" in said


def test_a_column_that_only_numbers_the_rows_is_said(tmp_path: Path) -> None:
    table = pd.DataFrame({"row": range(NUM_ROWS), "a": RNG.normal(size=NUM_ROWS), "y": RNG.normal(size=NUM_ROWS)})
    assert notes(tmp_path, table) == "'row' only numbers the rows, and new rows have other numbers; add --drop row"


def test_the_test_rows_have_no_part_in_a_warning(tmp_path: Path) -> None:
    table = pd.DataFrame({"part": ["train"] * 500 + ["test"] * 100, "a": RNG.normal(size=NUM_ROWS)})
    first = notes(tmp_path, table.assign(y=RNG.normal(size=NUM_ROWS)), split="column:part")
    changed = table.assign(y=np.r_[RNG.normal(size=500), series(num=100)])
    changed.loc[500:, "a"] = changed["a"].to_numpy()[:100]
    assert first == notes(tmp_path, changed, split="column:part") == ""


def test_a_split_by_time_has_the_rows_of_a_split_by_hand(tmp_path: Path) -> None:
    table = hourly(rows=600)
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "t.csv", index=False)
    options, rule = TableOptions(target="cnt", task="regression"), parse_split("time:when")
    found = load("csv", tmp_path / "t.csv", validation_fraction=0.2, table=options, split=rule)
    parts = (found.train, found.validation, load_test("csv", tmp_path / "t.csv", like=found))
    assert [sorted(part.y.tolist()) for part in parts] == [sorted(part["cnt"].tolist()) for part in by_hand(table)]
