"""Tables: the built-in ones, and a user's CSV in every form, good and bad."""

import json
import urllib.request
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from search.forecast.preview import describe_table
from search.storage.checking import build
from tests.tables import Rows, change_column, imbalanced_classes, mixed_categories, numeric_with_gaps, write_csv
from trainables.data.dataset import Dataset, from_arrays
from trainables.data.options import TableOptions
from trainables.data.table import Column, columns_from, encode, fit_columns
from trainables.sources import california
from trainables.sources.load import load, load_test
from trainables.sources.sheet import read_sheet

FEATURES = ["MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude"]


def load_csv(path: Path, target: str, *, fraction: float = 0.2, seed: int = 0, **options) -> Dataset:
    return load("csv", path, validation_fraction=fraction, seed=seed, table=TableOptions(target=target, **options))


# Built-in tables


def test_california_housing_has_the_published_splits_and_the_features_of_scikit_learn(data_dir: Path) -> None:
    dataset = load("california_housing", data_dir, validation_fraction=3303 / 16512)
    test = load_test("california_housing", data_dir, like=dataset)
    assert (len(dataset.train), len(dataset.validation), len(test)) == (13_209, 3_303, 4_128)
    assert [column.name for column in dataset.columns] == FEATURES
    assert [column.name for column in dataset.columns if column.gaps] == ["AveBedrms"]
    everything = torch.cat([dataset.train.x, dataset.validation.x, test.x])
    assert int(everything.isnan().sum()) == 207
    first = torch.tensor([8.3252, 41, 880 / 126, 129 / 126, 322, 322 / 126, 37.88, -122.23])
    assert (everything == first).all(1).sum() == 1
    assert (dataset.target, dataset.target_unit, dataset.task) == ("median house value", "$100k", "regression")
    assert float(dataset.train.y.max()) == pytest.approx(5.00001)


def test_a_file_that_is_not_the_census_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "california_housing.csv", numeric_with_gaps())
    with pytest.raises(ValueError, match=r"must contain the 20,640 districts .*; it has no column 'longitude'"):
        california.read(tmp_path)


def test_without_a_file_and_a_network_it_is_said_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setattr(urllib.request, "_opener", None)
    with pytest.raises(FileNotFoundError, match=r"california_housing.csv is not in .* could not be downloaded \(.*put"):
        california.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "rows", "num_columns", "classes"),
    [("diabetes", 442, 10, ()), ("breast_cancer", 569, 30, ("malignant", "benign"))],
)
def test_the_bundled_tables_are_scikit_learns(name: str, rows: int, num_columns: int, classes: tuple) -> None:
    dataset = load(name, "", validation_fraction=0.2)
    test = load_test(name, "", like=dataset)
    assert len(dataset.train) + len(dataset.validation) + len(test) == rows
    assert len(test) == rows // 5
    assert len(dataset.columns) == num_columns
    assert dataset.classes == classes
    seen = {row.numpy().tobytes() for split in (dataset.train, dataset.validation) for row in split.x}
    assert not seen & {row.numpy().tobytes() for row in test.x}


def test_the_options_of_a_csv_are_for_a_csv() -> None:
    with pytest.raises(ValueError, match="--target is for your own table, but diabetes has its own target"):
        load("diabetes", "", table=TableOptions(target="progression"))
    with pytest.raises(ValueError, match="your own table needs --target"):
        load("csv", "my.csv")
    with pytest.raises(ValueError, match="are read like its training rows"):
        load_test("diabetes", "")


# What is found in a CSV


def test_kinds_of_columns_gaps_and_task_are_found(tmp_path: Path) -> None:
    dataset = load_csv(write_csv(tmp_path / "rent.csv", mixed_categories()), "rent")
    city, garden, rooms = dataset.columns
    assert (city.kind, garden.kind, rooms.kind) == ("category", "category", "number")
    assert set(city.categories) == {"Bern", "Genève", "La Chaux-de-Fonds", "Zürich"}
    assert (city.gaps, rooms.gaps) == (True, False)
    assert dataset.task == "regression"
    assert dataset.train.x[:, 0].unique().tolist() == [0, 1, 2, 3, 4]
    assert dataset.mean == dataset.std == ()
    assert len(load_test("csv", tmp_path / "rent.csv", like=dataset)) == 48


def test_classes_keep_their_shares_in_all_three_parts(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "quality.csv", imbalanced_classes())
    dataset = load_csv(path, "quality")
    assert dataset.classes == ("bad", "good", "rare")
    parts = (dataset.train, dataset.validation, load_test("csv", path, like=dataset))
    assert [torch.bincount(part.y).tolist() for part in parts] == [[96, 86, 10], [24, 22, 2], [30, 27, 3]]


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["1", "2", "3"], "classification"),
        (["1.5", "2", "3"], "regression"),
        ([str(i) for i in range(21)], "regression"),
        (["no", "yes"], "classification"),
        (["True", "False"], "classification"),
    ],
)
def test_the_task_follows_from_the_target(tmp_path: Path, values: list[str], task: str) -> None:
    rows = [[str(i), values[i % len(values)]] for i in range(100)]
    path = write_csv(tmp_path / "any.csv", (["x", "y"], rows))
    assert load_csv(path, "y").task == task
    if all(value.isdigit() for value in values):
        assert load_csv(path, "y", task="classification").classes == tuple(values)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_separator_and_encoding_gives_the_same_table(tmp_path: Path, separator: str, encoding: str) -> None:
    path = write_csv(tmp_path / "rent.csv", mixed_categories(), separator=separator, encoding=encoding)
    sheet = read_sheet(path)
    cells = sheet.cells
    assert list(cells) == mixed_categories()[0]
    assert [list(row) for row in zip(*cells.values(), strict=True)] == mixed_categories()[1]
    assert ("is not UTF-8; it is read as Latin-1" in " ".join(sheet.notes)) == (encoding == "cp1252")


def test_a_comma_is_the_decimal_point_where_semicolons_separate(tmp_path: Path) -> None:
    table = change_column(numeric_with_gaps(), "size", lambda cell: cell.replace(".", ","))
    path = write_csv(tmp_path / "german.csv", table, separator=";")
    plain = write_csv(tmp_path / "plain.csv", numeric_with_gaps())
    assert torch.equal(load_csv(path, "price").train.x[:, 1], load_csv(plain, "price").train.x[:, 1])


def test_cells_may_hold_separators_quotes_line_breaks_and_any_sign_of_a_gap(tmp_path: Path) -> None:
    signs = ["", " ", "NA", "n/a", "NaN", "null", "?", "-", "None", "inf"]
    rows = [['a, "b"\nc' if i % 2 else "d", signs[i % 10] if i % 3 == 0 else str(i), str(i / 7)] for i in range(90)]
    dataset = load_csv(write_csv(tmp_path / "odd.csv", (["text", "x", "y"], rows)), "y", fraction=0.0)
    text, x = dataset.columns
    assert set(text.categories) == {'a, "b"\nc', "d"}
    assert (x.kind, x.gaps) == ("number", True)
    assert int(dataset.train.x[:, 1].isnan().sum()) == pytest.approx(24, abs=6)


def test_numbers_beyond_float32_are_gaps() -> None:
    cells = {"x": np.array(["1e300", "-1e300", "5", "1e-300", "1_000"], dtype=object)}
    x = encode(cells, (Column(name="x", kind="number"),))[:, 0]
    np.testing.assert_array_equal(x, [np.nan, np.nan, 5, 0, np.nan])


def test_only_the_most_frequent_categories_have_codes() -> None:
    texts = [f"c{i}" for i in range(150) for _ in range(3 if i < 40 else 2)]
    (column,) = fit_columns({"c": np.array(texts, dtype=object)}, np.arange(len(texts)))
    assert len(column.categories) == 100
    assert set(column.categories[:40]) == {f"c{i}" for i in range(40)}
    codes = encode({"c": np.array(["c0", "c149", "never", ""], dtype=object)}, (column,))[:, 0]
    assert codes[0] == column.categories.index("c0") + 1
    assert codes[2:].tolist() == [0, 0]


def test_rows_without_a_target_and_columns_without_a_name_are_left_out_and_said(tmp_path: Path) -> None:
    table = change_column(numeric_with_gaps(), "price", lambda _: "", rows=range(10))
    header, rows = table
    path = write_csv(tmp_path / "some.csv", (["", *header[1:]], rows))
    dataset = load_csv(path, "price", fraction=0.0)
    assert [column.name for column in dataset.columns] == ["size", "age"]
    assert len(dataset.train) == 230 - 46
    assert "10 of 240 rows have no price and are left out" in " ".join(dataset.notes)
    assert "1 column without a name left out" in " ".join(dataset.notes)


def test_columns_can_be_left_out(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "price.csv", numeric_with_gaps())
    assert [column.name for column in load_csv(path, "price", drop=("id", "age")).columns] == ["size"]


def test_the_seed_moves_the_validation_rows_and_never_the_test_rows(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "price.csv", numeric_with_gaps())
    first, second = (load_csv(path, "price", seed=seed) for seed in (0, 1))
    tests = [load_test("csv", path, like=dataset).x.nan_to_num() for dataset in (first, second)]
    assert torch.equal(*tests)
    assert not torch.equal(first.validation.x[:, 0], second.validation.x[:, 0])
    ids = torch.cat([first.train.x, first.validation.x, load_test("csv", path, like=first).x])[:, 0]
    assert sorted(ids.tolist()) == list(range(240))


def test_columns_and_options_survive_json_and_the_object_store(tmp_path: Path) -> None:
    options = TableOptions(target="rent", drop=("rooms",), types={"city": "category"})
    dataset = load("csv", write_csv(tmp_path / "rent.csv", mixed_categories()), table=options)
    stored = json.loads(json.dumps([asdict(column) for column in dataset.columns]))
    assert columns_from(stored) == dataset.columns
    assert build(TableOptions, json.loads(json.dumps(asdict(options)))) == options
    assert from_arrays(dataset.arrays()).columns == dataset.columns


# What is refused


def shorter(table: Rows, num_rows: int) -> Rows:
    return table[0], table[1][:num_rows]


REFUSED = {
    "missing target": (numeric_with_gaps(), {"target": "prize"}, r"no column 'prize' .* \(did you mean price\?\)"),
    "unknown drop": (numeric_with_gaps(), {"drop": ("idd",)}, r"--drop 'idd' cannot be: .* \(did you mean id\?\)"),
    "target dropped": (numeric_with_gaps(), {"drop": ("price",)}, "--drop 'price' cannot be: it is the target"),
    "nothing left": (numeric_with_gaps(), {"drop": ("id", "size", "age")}, "no column left to predict 'price' from"),
    "few rows": (shorter(numeric_with_gaps(), 49), {}, "at least 50 rows with a target, got 49"),
    "constant": (
        change_column(numeric_with_gaps(), "price", lambda _: "7"),
        {},
        "target 'price' is '7' in every row, so there is nothing to predict",
    ),
    "not numeric": (
        mixed_categories(),
        {"target": "garden", "task": "regression"},
        "target 'garden' must contain numbers for a regression, got '(yes|no)'",
    ),
    "too many classes": (
        numeric_with_gaps(),
        {"task": "classification"},
        r"at most 100 classes, got \d+; is it a regression\? --task regression",
    ),
    "rare class": (
        change_column(imbalanced_classes(), "quality", lambda _: "odd", rows=[5, 6]),
        {"target": "quality"},
        "needs at least 3 rows, got 2 of 'odd'; add rows, or remove or merge the class",
    ),
    "different texts": (
        change_column(numeric_with_gaps(), "id", lambda cell: f"id-{cell}"),
        {},
        r"column 'id' contains \d+ different texts in \d+ training rows, .*: --drop id",
    ),
    "different texts beside a dropped column": (
        change_column(numeric_with_gaps(), "id", lambda cell: f"id-{cell}"),
        {"drop": ("age",)},
        r"leave it out: --drop age,id",
    ),
    "numbers with a unit": (
        change_column(numeric_with_gaps(), "id", lambda cell: f"{cell}.5 kg"),
        {},
        r"'id' contains numbers with a unit \('\d+\.5 kg': write the numbers alone",
    ),
    "several columns at once": (
        change_column(
            change_column(numeric_with_gaps(), "id", lambda cell: f"id-{cell}"),
            "size",
            lambda cell: f"room {cell} is large",
        ),
        {},
        r"columns that cannot be used: 'id' contains .*, 'size' contains .*; leave them out: --drop id,size",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_cannot_be_learnt_from_says_why_in_one_line(tmp_path: Path, case: str) -> None:
    table, options, cause = REFUSED[case]
    with pytest.raises(ValueError, match=cause) as raised:
        load_csv(write_csv(tmp_path / "bad.csv", table), **{"target": "price", **options})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is empty; a CSV file with a header and rows is needed"),
        (b"PK\x03\x04" + bytes(50), "it looks like a zip archive or a workbook; save the table as CSV"),
        (b"\x1f\x8b" + bytes(50), "it looks like a gzip archive"),
        (b"a,b\n1\0,2\n", "it looks like binary data"),
        (b"a b c\n1 2 3\n" * 60, "must have 2 columns or more, separated by commas, semicolons or tabs, got 'a b c'"),
        (b"a,b,b\n" + b"1,2,3\n" * 60, "has 'b' twice; rename one"),
        (b"a,b,price\n" + b"1,2,3\n" * 50 + b"1;2;3\n", "3 cells of its header, .* by a comma, got 1 in '1;2;3'"),
        (b"a,b,price\n" + b"1,2,3\n" * 50 + b"1,5,2,3\n", "got 4 in '1,5,2,3'; use one separator"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table_says_why_in_one_line(tmp_path: Path, content: bytes, cause: str) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(ValueError, match=cause) as raised:
        load_csv(tmp_path / "bad.csv", "price")
    assert "\n" not in str(raised.value)


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file '.*none.csv'"):
        load_csv(tmp_path / "none.csv", "price")
    with pytest.raises(ValueError, match="is a folder; a CSV file is needed"):
        load_csv(tmp_path, "price")


def test_what_was_found_in_a_table_is_said_in_one_line(tmp_path: Path) -> None:
    rent = load_csv(write_csv(tmp_path / "rent.csv", mixed_categories()), "rent")
    assert describe_table(rent) == (
        "predicting rent (regression) from 3 columns: 1 of numbers, 2 of categories, 1 with gaps (missing: city 1.3 %)"
    )
    quality = load_csv(write_csv(tmp_path / "quality.csv", imbalanced_classes()), "quality")
    assert "predicting quality (classification of 3 classes) from 2 columns" in describe_table(quality)
