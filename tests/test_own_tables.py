"""Tables of the user's own: texts, numbers and classes arrive as the file has them, or the difference is said."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.fuzzing import searches
from benchmarks.fuzzing import tables as fuzz
from search.forecast.preview import describe_columns
from search.process.arguments import parse
from search.session.opening import decide_table, old_run
from search.session.options import Options
from search.storage.run import read_run, write_run
from tests.ledgers import make_run
from tests.tables import NUM_ROWS, A, B, read, told, trained, write
from trainables.data.dataset import Dataset
from trainables.data.kinds import decide_kinds
from trainables.data.options import TableOptions
from trainables.data.table import Table, fits_float32
from trainables.sources.load import load, load_test


def load_seed(path: Path) -> Dataset:
    return load("csv", path, seed=1, validation_fraction=0.2, table=TableOptions(target="y"))


def with_cells(cells: list, **changed: str) -> list:
    """The cells with some of them replaced: `r6="x"` is row 6, counted from 1."""
    cells = list(cells)
    for row, text in changed.items():
        cells[int(row[1:]) - 1] = text
    return cells


# Labels


@pytest.mark.parametrize(
    "classes",
    [
        ("4100001", "4100002", "4100003"),
        tuple(str(i) for i in range(1_234_560, 1_234_580)),
        ("20230101", "20230102", "20230103", "20230104"),
        ("12345678901234567", "12345678901234568"),  # one number in float64
        ("1.0", "2.0"),
        ("000001", "000002"),
        ("1e3", "2e3"),
    ],
)
def test_labels_stay_the_texts_of_the_file(tmp_path: Path, classes: tuple[str, ...]) -> None:
    labels = [classes[int(len(classes) * a)] for a in A]
    dataset = read(write(tmp_path / "t.csv", "a,y", A, labels), task="classification")
    assert dataset.classes == classes
    shares = torch.bincount(torch.cat([dataset.train.y, dataset.validation.y])) / 240
    assert shares.numpy() == pytest.approx([labels.count(c) / NUM_ROWS for c in classes], abs=0.01)


@pytest.mark.parametrize(
    ("texts", "pair"), [(("007", "7", "8"), "'007' and '7'"), (("Yes", "yes", "no"), "'Yes' and 'yes'"),
                        (("1", "1.0", "2"), "'1' and '1.0'"), (("café", "cafe\u0301", "x"), "are two classes")]
)  # fmt: skip
def test_labels_that_look_alike_stay_apart_and_are_said(tmp_path: Path, texts: tuple, pair: str) -> None:
    dataset = read(write(tmp_path / "t.csv", "a,y", A, [texts[int(3 * a)] for a in A]))
    assert set(dataset.classes) == set(texts)
    assert pair in told(dataset)


@pytest.mark.parametrize(
    "pair",
    [("Yes", "yes"), ("cat", "cat\u200b"), ("1", "True"), ("N", "no"), ("on", "t"), ("Z\u00fcrich", "ZU\u0308RICH")],
)
def test_categories_and_classes_that_look_alike_stay_apart_and_are_said(tmp_path: Path, pair: tuple[str, str]) -> None:
    texts = [pair[int(2 * a)] for a in A]
    said = told(read(write(tmp_path / "t.csv", "a,c,y", A, texts, B)))
    assert any(f"{one!r} and {two!r} are two categories of 'c'" in said for one, two in (pair, pair[::-1]))
    said = told(read(write(tmp_path / "y.csv", "a,y", B, texts)))
    assert any(f"{one!r} and {two!r} are two classes" in said for one, two in (pair, pair[::-1]))


@pytest.mark.parametrize("start", [10**17, 10**18, 10**40])
def test_long_labels_that_differ_are_not_said_to_be_alike(tmp_path: Path, start: int) -> None:
    dataset = read(write(tmp_path / "t.csv", "a,y", A, [start + int(3 * b) for b in B]), task="classification")
    assert dataset.classes == (str(start), str(start + 1), str(start + 2))
    assert "are two classes" not in told(dataset)


@pytest.mark.parametrize("mark", ["<NA>", "NaT", "-nan", "NAN"])
def test_what_programs_write_for_nothing_is_missing_and_no_class(tmp_path: Path, mark: str) -> None:
    labels = [mark if i % 5 == 0 else "uv"[int(2 * b)] for i, b in enumerate(B)]
    cells = [mark if i % 4 == 1 else f"{a:.3f}" for i, a in enumerate(A)]
    dataset = read(write(tmp_path / "t.csv", "a,c,y", cells, labels, labels))
    assert dataset.classes == ("u", "v")
    assert dataset.columns[0].gaps
    assert set(dataset.columns[1].categories) == {"u", "v"}
    assert f"60 of 300 rows have no y and are left out ({mark!r} counts as missing)" in told(dataset)


def test_a_name_like_nan_is_a_class(tmp_path: Path) -> None:
    names = [("Nan", "Ann", "Bob")[int(3 * a)] for a in A]
    assert read(write(tmp_path / "t.csv", "b,y", B, names)).classes == ("Ann", "Bob", "Nan")


@pytest.mark.parametrize("form", ["{:.3f} kg", "{:.0%} of all", "0x{:.3f}", "about {:.4f}"])
def test_numbers_in_a_form_that_is_not_read_are_not_called_worthless(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "t.csv", "size,y", [form.format(1000 * a) for a in A], B)
    with pytest.raises(
        ValueError, match=".*(write them in one form, without units, if they are numbers|numbers with a unit).*leave"
    ):
        read(path)


def test_a_name_of_a_column_is_found_in_either_form_of_unicode(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "gro\u0308\u00dfe,cafe\u0301,y", A, A, B)
    dataset = read(path, drop=("gr\u00f6\u00dfe",), types={"caf\u00e9": "category"})
    assert [(column.name, column.kind) for column in dataset.columns] == [("caf\u00e9", "category")]
    assert read(path, target="caf\u00e9").target == read(path, target="cafe\u0301").target == "caf\u00e9"


def test_truth_values_are_two_classes_in_every_spelling(tmp_path: Path) -> None:
    spelt = ["True", "true", "TRUE", "False", "FALSE"]
    path = write(tmp_path / "t.csv", "a,b,y", A, [spelt[int(5 * b)] for b in B], [spelt[int(5 * a)] for a in A])
    dataset = read(path)
    assert [text.lower() for text in dataset.classes] == ["false", "true"]
    assert "counts as" in told(dataset)
    assert len(dataset.columns[1].categories) == 2
    assert dataset.train.x[:, 1].min() == 1  # none is unknown


@pytest.mark.parametrize("word", ["none", "NA", "null", "-", "?", "None", "n/a"])
def test_a_frequent_word_is_a_class_and_a_rare_one_a_missing_target(tmp_path: Path, word: str) -> None:
    labels = [[word, "mild", "severe"][int(3 * a)] for a in A]
    assert set(read(write(tmp_path / "t.csv", "a,y", A, labels)).classes) == {word, "mild", "severe"}
    rare = [word if i < 9 else ["mild", "severe"][int(2 * a)] for i, a in enumerate(A)]
    dataset = read(write(tmp_path / "rare.csv", "a,y", A, rare))
    assert dataset.classes == ("mild", "severe")
    assert f"9 of 300 rows have no y and are left out ({word!r} counts as missing)" in told(dataset)
    numbers = [word if i < 60 else f"{a:.3f}" for i, a in enumerate(A)]
    assert read(write(tmp_path / "numbers.csv", "b,y", B, numbers)).task == "regression"


@pytest.mark.parametrize("labels", [["none", "disease"], ["+", "-"], ["?", "known"]])
def test_two_classes_of_which_one_is_a_word_for_nothing(tmp_path: Path, labels: list[str]) -> None:
    dataset = read(write(tmp_path / "t.csv", "a,y", A, [labels[int(2 * a)] for a in A]))
    assert set(dataset.classes) == set(labels)


# What cannot be learnt is refused with the row, the value and the way out

REFUSED = {
    "infinity": (with_cells(A, r6="Infinity"), {}, r"finite .* 'Infinity' in row 6 \(line 7\); correct .* empty"),
    "+inf": (with_cells(A, r300="+inf"), {}, r"'\+inf' in row 300"),
    "1e400": (with_cells(A, r2="1e400"), {}, "'1e400' in row 2"),
    "1e39": (with_cells(A, r2="-1e39"), {}, "'-1e39' in row 2"),
    "all huge": ([f"{1 + a}e300" for a in A], {}, r"in row 1 .* and 297 more cells"),
    "n.a.": (with_cells(A, r19="n.a."), {}, r"must contain numbers .* 'n.a.' in row 19 .*; for classes: --task"),
    "words": (["yes" if a < 0.5 else "no" for a in A], {"task": "regression"}, "must contain numbers for a regression"),
    "one class": (["1"] * NUM_ROWS, {"task": "classification"}, "'1' in every row, so there is nothing to predict"),
    "one spelling": ([["true", "TRUE"][int(2 * a)] for a in A], {}, "in every row, so there is nothing to predict"),
    "one and gaps": (["1" if a < 0.5 else "-" for a in A], {}, r"every row that has one \('-' counts as missing\)"),
    "one and nan": (["x" if a < 0.5 else "nan" for a in A], {}, r"'x' in every row that has one"),
    "a rare count": (with_cells([int(9 * a) for a in A], r8="14"), {}, r"got 1 of '14'.* in row 8 .*--task regression"),
    "no rows": ([], {}, "at least 50 rows with a target, got 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_target_that_cannot_be_learnt_is_one_line(tmp_path: Path, case: str) -> None:
    cells, options, cause = REFUSED[case]
    with pytest.raises(ValueError, match=cause) as raised:
        read(write(tmp_path / "t.csv", "b,y", B[: len(cells)], cells), **options)
    assert "\n" not in str(raised.value)


# Digits


@pytest.mark.parametrize("offset", [10**12, 10**15])
def test_a_target_with_an_offset_is_learnt_in_its_own_unit(tmp_path: Path, offset: int) -> None:
    path = write(tmp_path / "t.csv", "a,b,y", A, B, [offset + int(30_000 * a) for a in A])
    dataset = read(path)
    test = load_test("csv", path, like=dataset)
    assert dataset.train.y.dtype == test.y.dtype == torch.float64
    assert sorted(torch.cat([dataset.train.y, dataset.validation.y, test.y]).tolist()) == sorted(
        offset + int(30_000 * a) for a in A
    )
    training = trained(dataset)
    assert training.history[-1]["r2"] > 0.9
    assert 1 < training.history[-1]["rmse"] < 3_000
    error = training.predict(test.x)[:, 0] - test.y
    assert float(error.square().mean().sqrt()) < 3_000


@pytest.mark.parametrize(
    "cells",
    [
        [1_700_000_000 + int(100 * a) for a in A],  # Unix seconds
        [1_700_000_000_000 + int(60_000 * a) for a in A],
        [f"{2460310 + a:.5f}" for a in A],  # Julian dates
        [16_777_216 + int(300 * a) for a in A],
        [f"{5_012_345 + a:.3f}" for a in A],  # UTM
        [f"{a}e-13" for a in A],  # farad
        [f"{a}e-40" for a in A],
        [f"{a}e30" for a in A],
        [20240101 + int(28 * a) for a in A],
    ],
    ids=["seconds", "milliseconds", "julian", "ids", "utm", "farad", "denormal", "huge", "days"],
)  # fmt: skip
@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_no_column_loses_what_tells_its_rows_apart(tmp_path: Path, cells: list, scaling: str) -> None:
    path = write(tmp_path / "t.csv", "when,b,y", cells, B, [f"{10 * a:.4f}" for a in A])
    dataset = read(path, fraction=0.2)
    x = torch.cat([dataset.train.x, dataset.validation.x, load_test("csv", path, like=dataset).x])
    assert len(x[:, 0].unique()) == len({float(cell) for cell in cells})
    encoder = trained(dataset, epochs=1, scaling=scaling).model[0]
    scaled = encoder.scale(dataset.train.x)[:, 0]
    assert scaled.dtype == torch.float32
    assert float(scaled.std()) == pytest.approx(1, abs=0.1)
    order = dataset.train.x[:, 0].argsort()
    assert (scaled[order].diff() >= 0).all()


def test_a_target_of_tiny_numbers_is_learnt_and_ordinary_columns_stay_float32(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b,y", A, B, [f"{3 * a}e-14" for a in A])
    training = trained(read(path))
    assert training.history[-1]["r2"] > 0.9
    assert 0 < training.history[-1]["rmse"] < 1e-14
    ordinary = [np.array(A), 1000 + 30 * np.array(A), np.exp(12 * np.array(A)), np.repeat([0.0, 1e6], 150), np.zeros(9)]
    assert all(fits_float32(values) for values in ordinary)


# What a column is


def test_odd_cells_among_numbers_are_missing_and_named_with_their_rows(tmp_path: Path) -> None:
    cells = with_cells([f"{a:.3f}" for a in A], r19="n.a.", r20="#DIV/0!", r21="1e400", r22=".", r23="-1e39")
    dataset = read(write(tmp_path / "t.csv", "size,y", cells, A), fraction=0.0)
    assert (dataset.columns[0].kind, dataset.columns[0].gaps) == ("number", True)
    said = told(dataset)
    assert "'n.a.' in row 19 (line 20), '#DIV/0!' in row 20 (line 21)" in said
    assert "and 2 more cells: not numbers, treated as missing (as categories: --types size=category)" in said


@pytest.mark.parametrize("start", [2**53, 76561198000000001])
def test_numbers_that_float64_merges_are_said(tmp_path: Path, start: int) -> None:
    cells = [f"{start + n}" for n in range(NUM_ROWS)]
    said = told(read(write(tmp_path / "t.csv", "id,y", cells, A)))
    kept = len({float(cell) for cell in cells})
    assert kept < NUM_ROWS
    assert f"of 300 numbers of more than 15 digits {kept} are distinct (as categories: --types id=category)" in said


def test_long_ways_of_writing_a_number_are_one_number(tmp_path: Path) -> None:
    cells = [f"{n // 3}" + ("", ".0", ".000000000000000")[n % 3] for n in range(NUM_ROWS)]
    cells[:2] = ["1234567890123456", "1234567890123456.0"]
    assert "digits" not in told(read(write(tmp_path / "t.csv", "id,y", cells, A)))


@pytest.mark.parametrize("word", ["n.a.", "unknown"])
def test_the_row_of_an_odd_cell_decides_nothing(tmp_path: Path, word: str) -> None:
    kinds = set()
    for row in range(1, NUM_ROWS + 1, 7):
        for cells in ([f"{a:.3f}" for a in A], [int(60 * a) for a in A]):
            path = write(tmp_path / "t.csv", "size,y", with_cells(cells, **{f"r{row}": word}), A)
            searched, final = read(path), read(path, fraction=0.0)
            kinds |= {searched.columns[0].kind, final.columns[0].kind, load_seed(path).columns[0].kind}
    assert kinds == {"number"}


def test_a_mixed_column_names_its_odd_cells_and_the_way_out(tmp_path: Path) -> None:
    cells = [f"{a:.3f}" if a < 0.7 else f"x{i}" for i, a in enumerate(A)]
    path = write(tmp_path / "t.csv", "my size,y", cells, A)
    with pytest.raises(
        ValueError, match=r"contains numbers, but also 'x.* --types 'my size=number', .* --drop 'my size'"
    ):
        read(path)
    assert read(path, types={"my size": "number"}).columns[0].kind == "number"


def test_types_override_what_is_found(tmp_path: Path) -> None:
    zips = [f"{1000 + int(40 * a):05d}" for a in A]
    path = write(tmp_path / "t.csv", "zip,y", zips, [f"{a:.4f}" for a in A])
    found = read(path)
    assert found.columns[0].kind == "number"
    assert "read without leading zeros (as categories: --types zip=category)" in told(found)
    dataset = read(path, types={"zip": "category"})
    assert set(dataset.columns[0].categories) <= set(zips)
    assert describe_columns(dataset) == f"categories: zip ({len(dataset.columns[0].categories)})"


@pytest.mark.parametrize(
    ("types", "cause"),
    [
        ({"zap": "number"}, r"--types 'zap' cannot be: .* \(did you mean zip\?\)"),
        ({"y": "category"}, "it is the target; use --task instead"),
        ({"word": "number"}, "'word' cannot be numbers: it contains '(ab|cd)' in row"),
        ({"zip": "words"}, "must be a number, a category or text, got 'words'"),
    ],
)
def test_types_that_cannot_be_are_one_line(tmp_path: Path, types: dict, cause: str) -> None:
    path = write(tmp_path / "t.csv", "zip,word,y", [int(9 * a) for a in A], ["ab", "cd"] * 150, A)
    with pytest.raises(ValueError, match=cause):
        read(path, types=types)


def test_the_decision_is_kept_in_the_run_and_read_again(tmp_path: Path) -> None:
    cells = [f"{a:.3f}" if a < 0.7 else f"x{int(9 * a)}" for a in A]
    path = write(tmp_path / "t.csv", "size,c,y", cells, [int(5 * b) for b in B], [int(30 * a) for a in A])
    options = TableOptions(target="y", types={"size": "number"})
    dataset = load("csv", path, validation_fraction=0.2, table=options)
    decided = decide_table(options, dataset)
    run = replace(make_run(), table=options, decided=decided)
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run", run)
    stored = read_run(tmp_path / "run")
    assert stored.reading == decided
    assert (decided.task, dict(decided.types)) == ("regression", {"size": "number", "c": "number"})
    assert load("csv", path, validation_fraction=0.2, table=stored.reading).checksum == dataset.checksum
    older = json.loads((tmp_path / "run" / "run.json").read_text())
    older.pop("decided")
    older["table"].pop("types")
    (tmp_path / "run" / "run.json").write_text(json.dumps(older))
    assert read_run(tmp_path / "run").reading == replace(options, types={})


def test_types_given_to_a_resume_must_be_those_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    write_run(
        tmp_path / "r",
        replace(make_run(), table=TableOptions(target="y", types={"a": "number"}), study_url="sqlite:///x"),
    )
    with pytest.raises(ValueError, match=r"types is \{'a': 'number'\}, not \{'a': 'category'\}"):
        old_run(tmp_path / "r", given={"types": {"a": "category"}}, trials=None)
    assert old_run(tmp_path / "r", given={"types": {"a": "number"}}, trials=None).table is not None
    options = Options(space="tabular_mlp", target="y", types='a=number,"b, c=category"', drop='"id, text",when')
    assert options.table is not None
    assert options.table.drop == ("id, text", "when")
    assert asdict(options.table)["types"] == {"a": "number", "b, c": "category"}


def test_kinds_are_decided_on_texts_alone() -> None:
    cells = {
        "x": np.array(["1", "2", "", "NA"] * 20, dtype=object),
        "c": np.array(["none", "-", "?", "x"] * 20, object),
    }
    table = Table(cells=cells, y=np.zeros(80), target="y")
    assert decide_kinds(table, {}) == {"x": "number", "c": "category"}


# Rows


def test_repeated_rows_and_rows_in_time_are_said(tmp_path: Path) -> None:
    days = [f"2024-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in range(NUM_ROWS)]
    path = write(tmp_path / "t.csv", "day,n,a,y", days, range(NUM_ROWS), A, [f"{a:.4f}" for a in A])
    said = told(read(path, drop=("day",)))
    assert "'day' contains dates, 'n' rises or falls from row to row" in said
    assert "--split time:day" in said
    twice = write(tmp_path / "twice.csv", "a,b,y", A[:150] * 2, B[:150] * 2, A[:150] * 2)
    assert "validation rows (" in told(read(twice))
    assert "--split distinct" in told(read(twice))
    assert not told(read(write(tmp_path / "plain.csv", "a,b,y", A, B, A)))


# Fuzz


def test_sixty_damaged_and_unusual_tables_are_read_or_refused_and_nothing_is_lost() -> None:
    found = fuzz.run(num=60, seed=100_000)
    assert found["faults"] == []
    assert found["outcomes"]["read"] > 20
    assert found["outcomes"]["refused"] > 10


def test_five_searches_with_random_options_are_refused_in_one_line_or_used_to_the_prediction() -> None:
    found = searches.run(5, seed=4)
    assert found["faults"] == []
    assert found["outcomes"]["used"] > 1


def test_column_types_that_are_given_twice_are_refused_since_the_first_would_be_lost():
    with pytest.raises(ValueError, match=r"--types is given more than once; give it once"):
        parse(Options, ["--types", "a=text", "--types=b=number"], prog="search")
