"""Rows to predict are read in the notation of the training file, whatever else is in their file."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.model.load import Model
from analysis.model.tables import TableAnswers, answer_table
from tests.tables import NUM_ROWS, A, exported, read, told
from trainables.data.table import columns_from

SIZES = [f"{i},5" for i in range(NUM_ROWS)]
PRICES = [f"{1 + i % 9}.{i:03d},{i % 100:02d}" for i in range(NUM_ROWS)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A network for sizes and prices with decimal commas."""
    folder = tmp_path_factory.mktemp("german")
    lines = [f"{size};{price};{y}" for size, price, y in zip(SIZES, PRICES, A, strict=True)]
    (folder / "t.csv").write_text("\n".join(["size;price;y", *lines]))
    return exported(read(folder / "t.csv"), folder)


def answered(model: Model, folder: Path, *rows: str) -> TableAnswers:
    path = folder / "rows.csv"
    path.write_text("\n".join(["size;price", *rows]) + "\n")
    return answer_table(model, str(path))


def test_a_cell_is_read_alike_whatever_the_other_rows_are(model: Model, tmp_path: Path):
    expected = answered(model, tmp_path, "12;1234,0").outputs[0]
    for others in ((), ("13,5;2.000,50",), ("1;unknown", "3;soon"), ("1;12.5", "2;3.25")):
        assert answered(model, tmp_path, "12;1.234", *others).outputs[0] == pytest.approx(expected)
    assert answered(model, tmp_path, "12;1.234,50", "1;?").outputs[0] == pytest.approx(
        answered(model, tmp_path, "12;1234,5").outputs[0]
    )


def test_what_is_read_and_what_contradicts_it_is_said(model: Model, tmp_path: Path):
    assert answered(model, tmp_path, "12;1.234").notes == ("read as numbers: 'price' '1.234' as 1234",)
    notes = answered(model, tmp_path, "12;1.234", "1;12.75").notes
    assert notes[1] == (
        "read with decimal commas, as in training, though a cell has a decimal point (write all numbers as the training"
        " file does): 'price' '12.75'"
    )


def test_typed_numbers_are_numbers_and_texts_have_the_notation_of_the_training_file(model: Model, tmp_path: Path):
    expected = answered(model, tmp_path, "12;1,234", "12;1.234").outputs
    for number, prices in enumerate(([1.234, 1234.0], ["1,234", "1.234"])):
        path = tmp_path / f"{number}.parquet"
        pd.DataFrame({"size": [12.0, 12.0], "price": prices}).to_parquet(path)
        np.testing.assert_allclose(answer_table(model, str(path)).outputs, expected, rtol=1e-6)


def test_a_model_without_a_notation_takes_that_of_the_file(model: Model, tmp_path: Path):
    facts = json.loads(json.dumps([asdict(column) for column in model.columns]))
    assert [(one["mark"], one["signs"]) for one in facts] == [(",", [""]), (",", [""])]
    earlier: list[Any] = [{name: one[name] for name in one if name not in ("mark", "signs")} for one in facts]
    assert columns_from(facts) == model.columns
    assert columns_from(earlier) == tuple(replace(column, mark=None, signs=()) for column in model.columns)
    old = replace(model, facts=model.facts | {"columns": earlier})
    assert answered(old, tmp_path, "12;1.234").outputs[0] != answered(model, tmp_path, "12;1.234").outputs[0]
    both = [answered(one, tmp_path, "12;1.234", "13;2.000,50").outputs.tolist() for one in (old, model)]
    assert both[0] == both[1]


def test_plain_numbers_with_decimals_are_known_as_such_and_categories_have_no_notation(tmp_path: Path):
    rows = [f"{a:.3f};{i},5;{i % 3},5;{i}" for i, a in enumerate(A)]
    (tmp_path / "t.csv").write_text("\n".join(["a;b;c;y", *rows]))
    dataset = read(tmp_path / "t.csv", types={"c": "category"})
    assert [(c.mark, c.signs) for c in dataset.columns] == [(".", ()), (",", ("",)), (None, ())]
    assert "'b' '0,5' as 0.5" in told(dataset)


def test_plain_numbers_are_read_alike_beside_decimal_commas(tmp_path: Path):
    rows = [f"{1 + i % 9}.{i:03d};{i},5;{a}" for i, a in enumerate(A)]
    (tmp_path / "t.csv").write_text("\n".join(["size;price;y", "12.5;0,5;1", *rows]))
    model = exported(read(tmp_path / "t.csv"), tmp_path)
    alone = answered(model, tmp_path, "1.234;0,5").outputs[0]
    assert alone == pytest.approx(answered(model, tmp_path, "1.234;0,5", "12.5;0,5").outputs[0])
    assert answered(model, tmp_path, "1,234;0,5", "12,5;0,5").outputs[0] == pytest.approx(alone), "as this file has it"


def test_categories_of_pandas_are_texts_and_what_contradicts_the_notation_is_said(model: Model, tmp_path: Path):
    path = tmp_path / "t.parquet"
    table = pd.DataFrame({"size": [12.0, 12.0], "price": ["1.234", "12.75"]}).astype({"price": "category"})
    table.to_parquet(path)
    found = answer_table(model, str(path))
    assert found.outputs[0] == pytest.approx(answered(model, tmp_path, "12;1234,0").outputs[0])
    assert "'price' '12.75'" in " ".join(found.notes)
