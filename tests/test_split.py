"""How rows become test, validation and training rows: by time, whole groups, equal rows, a column or a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.session.opening import old_run
from search.storage.run import data_of, read_run, write_run
from spaces.space import load as load_space
from tests.divided import images, write
from tests.ledgers import make_run
from trainables.data.dataset import Dataset, Split
from trainables.data.divide import Division, number_groups
from trainables.data.equal import inputs_of
from trainables.data.options import TableOptions
from trainables.data.split import SplitRule, describe_split, parse_split
from trainables.sources.divisions import divide_sheet
from trainables.sources.load import load, load_test
from trainables.sources.sheet import read_sheet

NUM_ROWS = 400
RNG = np.random.default_rng(0)
NUMBER = np.arange(NUM_ROWS)
GROUP = RNG.integers(0, 30, NUM_ROWS)
DAY = RNG.permutation(NUM_ROWS) // 3
A = RNG.normal(size=NUM_ROWS).round(3)
PART = np.array(["train", "Training", "valid", "test"])[NUMBER % 4]
LABEL = np.where(A > 0.3, "high", np.where(A < -0.8, "low", "middle"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    days = [f"2024-{1 + day // 28:02d}-{1 + day % 28:02d}" for day in DAY]
    rows = zip(NUMBER, [f"P{g}" for g in GROUP], days, A, PART, LABEL, NUMBER + 0.5, strict=True)
    return write(tmp_path / "t.csv", ["number", "patient", "day", "a", "part", "label", "y"], rows)


def parts(path: Path, split: str, *, target: str = "y", seed: int = 0, **options: Any) -> tuple[Dataset, Split]:
    chosen = TableOptions(target=target, **options)
    rule = parse_split(split)
    found = load("csv", path, seed=seed, validation_fraction=0.25, table=chosen, split=rule)
    return found, load_test("csv", path, like=found)


def rows_of(split: Split) -> set[int]:
    """The numbers of rows, which the target gives away."""
    return {int(value) for value in split.y.tolist()}


def test_by_time_the_latest_rows_are_the_test_and_the_latest_of_the_others_validate(table: Path) -> None:
    for seed in (0, 1):
        found, test = parts(table, "time:day", seed=seed)
        train, held_out, sealed = (DAY[list(rows_of(part))] for part in (found.train, found.validation, test))
        assert train.max() < held_out.min()
        assert held_out.max() < sealed.min()
        assert len(sealed) == pytest.approx(NUM_ROWS / 5, abs=3)
        assert len(held_out) == pytest.approx(NUM_ROWS / 5, abs=3)
        assert "day" in [column.name for column in found.columns]


def test_time_without_a_column_is_the_order_of_the_file(table: Path) -> None:
    found, test = parts(table, "time")
    assert rows_of(test) == set(range(320, 400))
    assert rows_of(found.validation) == set(range(240, 320))


def test_a_dropped_column_of_times_still_decides_the_split(table: Path) -> None:
    found, test = parts(table, "time:day", drop=("day",))
    assert DAY[list(rows_of(found.validation))].max() < DAY[list(rows_of(test))].min()
    assert "day" not in [column.name for column in found.columns]


@pytest.mark.parametrize("target", ["y", "label"])
def test_whole_groups_are_on_one_side_and_the_group_is_no_input(table: Path, target: str) -> None:
    drop = ("y",) if target == "label" else ("label",)
    found, test = parts(table, "group:patient", target=target, drop=drop)
    numbers = [c.name for c in found.columns].index("number")
    sides = [set(GROUP[part.x[:, numbers].long().numpy()].tolist()) for part in (found.train, found.validation, test)]
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & sides[2]
    assert sum(map(len, sides)) == 30
    assert len(test) == pytest.approx(80, abs=12)
    assert test.groups is not None
    known = {(group, GROUP[row]) for group, row in zip(test.groups, test.x[:, numbers].long().numpy(), strict=True)}
    assert len(known) == len(sides[2]), "a number for each group"
    assert "patient" not in [column.name for column in found.columns]
    if target == "label":
        shares = [np.bincount(part.y.numpy(), minlength=3) / len(part) for part in (found.train, test)]
        assert np.abs(shares[0] - shares[1]).max() < 0.1


def test_a_group_whose_type_is_stated_stays_an_input(table: Path) -> None:
    found, _ = parts(table, "group:patient", types={"patient": "category"})
    assert "patient" in [column.name for column in found.columns]


def test_another_seed_draws_other_validation_groups_and_the_same_test_rows(table: Path) -> None:
    (one, test), (other, same) = (parts(table, "group:patient", seed=seed) for seed in (0, 1))
    assert rows_of(test) == rows_of(same)
    assert rows_of(one.validation) != rows_of(other.validation)


def test_a_column_says_the_part_of_each_row_and_is_no_input(table: Path) -> None:
    found, test = parts(table, "column:part")
    assert list(test.origin) == [number + 1 for number in NUMBER[PART == "test"]]
    assert rows_of(test) == set(NUMBER[PART == "test"])
    assert rows_of(found.validation) == set(NUMBER[PART == "valid"])
    assert "part" not in [column.name for column in found.columns]


def test_a_file_says_the_part_of_each_row_in_the_order_of_the_table(table: Path, tmp_path: Path) -> None:
    stated = write(tmp_path / "parts.csv", ["split"], [[part] for part in PART])
    found, test = parts(table, f"file:{stated}", drop=("part",))
    assert rows_of(test) == set(NUMBER[PART == "test"])
    assert rows_of(found.validation) == set(NUMBER[PART == "valid"])


def test_a_file_in_another_order_is_matched_by_the_columns_that_it_shares(table: Path, tmp_path: Path) -> None:
    order = np.random.default_rng(3).permutation(NUM_ROWS)
    rows = [[PART[row], f"{row}.0"] for row in order]
    found, test = parts(table, f"file:{write(tmp_path / 'p.csv', ['Split', 'number'], rows)}", drop=("part",))
    assert rows_of(test) == set(NUMBER[PART == "test"])
    assert rows_of(found.validation) == set(NUMBER[PART == "valid"])
    assert any(note.endswith("p.csv were matched with those of the table by 'number'") for note in found.notes)
    same = parts(table, f"file:{write(tmp_path / 'q.csv', ['split', 'number'], rows_in_order())}", drop=("part",))
    assert rows_of(same[1]) == rows_of(test)
    assert not any("matched" in note for note in same[0].notes)


def rows_in_order() -> list[list[str]]:
    return [[part, str(row)] for row, part in enumerate(PART)]


@pytest.mark.parametrize(
    ("header", "change", "message"),
    [
        (
            ["split", "number"],
            (1, "7"),
            "must agree in the columns that both have, got '7' for '5' in row 6 of 'number'",
        ),
        (["split", "patient"], (1, "P1"), "do not say which row is meant; correct them, or leave them out"),
        (["train", "nothing"], (0, "train"), "must begin with a header, got 'train' in its first line; add a line"),
        (["purpose", "nothing"], (0, "train"), "must have a column 'split' with train, .*, got purpose, nothing"),
    ],
)
def test_a_file_of_parts_that_contradicts_the_table_is_refused(
    table: Path, tmp_path: Path, header: list[str], change: tuple[int, str], message: str
) -> None:
    rows = rows_in_order()
    rows[5][change[0]] = change[1]
    with pytest.raises(ValueError, match=message):
        parts(table, f"file:{write(tmp_path / 'p.csv', header, rows)}", drop=("part",))


def test_a_copy_that_a_program_has_written_differently_agrees_with_the_table(tmp_path: Path) -> None:
    sizes = np.random.default_rng(1).normal(size=90)
    rows = [[f"{size:.17g}", number or "", number] for number, size in enumerate(sizes)]
    copied = [[f"{sizes[row[2]]:.12g}", f"{row[1]}.0" if row[1] else "nan", PART[row[2]]] for row in rows]
    stated = write(tmp_path / "p.csv", ["size", "count", "split"], copied)
    found, _ = parts(write(tmp_path / "t.csv", ["size", "count", "y"], rows), f"file:{stated}")
    assert not any("matched" in note for note in found.notes)


def test_the_only_column_of_a_file_may_have_any_name(table: Path, tmp_path: Path) -> None:
    stated = write(tmp_path / "p.csv", ["purpose"], [[part] for part in PART])
    assert rows_of(parts(table, f"file:{stated}")[1]) == set(NUMBER[PART == "test"])


def test_a_column_named_part_is_one_of_parts(table: Path, tmp_path: Path) -> None:
    stated = write(tmp_path / "p.csv", ["part"], [[part] for part in PART])
    assert rows_of(parts(table, f"file:{stated}")[1]) == set(NUMBER[PART == "test"])


def test_a_list_of_images_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    folder = images(tmp_path / "x")
    names = [str(path.relative_to(folder / "train")) for path in sorted((folder / "train").rglob("*.png"))]
    stated = write(tmp_path / "p.csv", ["file", "group"], [*([name, "a"] for name in names), [names[0], "b"]])
    with pytest.raises(ValueError, match=f"must say one group for {names[0]}, got 'a' and 'b'"):
        load("image_folder", folder, split=parse_split(f"group:{stated}"))


def test_without_stated_validation_rows_they_are_drawn_from_the_training_rows(tmp_path: Path, table: Path) -> None:
    said = ["test" if part == "test" else "train" for part in PART]
    stated = write(tmp_path / "parts.csv", ["id", "split"], enumerate(said))
    found, test = parts(table, f"file:{stated}")
    assert rows_of(test) == set(NUMBER[PART == "test"])
    assert len(found.validation) == 75


def test_equal_rows_stay_on_one_side(tmp_path: Path) -> None:
    x = RNG.integers(0, 40, (NUM_ROWS, 2))
    path = write(tmp_path / "t.csv", ["a", "b", "id", "y"], [(*row, n, n) for n, row in enumerate(x.tolist())])
    found, test = parts(path, "distinct", drop=("id",))
    sides = [{tuple(row) for row in part.x.tolist()} for part in (found.train, found.validation, test)]
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & sides[2]
    assert sum(map(len, sides)) < NUM_ROWS


def test_a_random_split_is_as_it_was(table: Path) -> None:
    plain = load("csv", table, validation_fraction=0.25, table=TableOptions(target="y"))
    found, test = parts(table, "random")
    assert rows_of(plain.train) == rows_of(found.train)
    assert plain.checksum == found.checksum
    assert len(test) == 80


def test_a_part_of_the_rows_is_split_by_the_same_rule(table: Path) -> None:
    rule, options = parse_split("time:day"), TableOptions(target="y")
    found = load("csv", table, train_size=100, validation_fraction=0.2, table=options, split=rule)
    assert len(found.train) + len(found.validation) == 100
    assert DAY[list(rows_of(found.train))].max() < DAY[list(rows_of(found.validation))].min()


def test_the_checksum_changes_with_what_decides_the_split(table: Path, tmp_path: Path) -> None:
    stated = write(tmp_path / "parts.csv", ["split"], [[part] for part in PART])
    first = parts(table, f"file:{stated}")[0].checksum
    write(stated, ["split"], [["valid" if n == 0 else part] for n, part in enumerate(PART)])
    assert parts(table, f"file:{stated}")[0].checksum != first


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("time:dai", r"--split time:dai cannot be: the table has no such column.*did you mean day"),
        ("group:y", "--split group:y cannot be: 'y' is the target"),
        ("time:patient", r"needs a date \(2024-01-31\) or a number in every row of 'patient', got 'P\d+' in row 1"),
        ("column:label", r"column 'label' must say train, validation or test for every row, got"),
        ("file:nowhere.csv", "there is no file 'nowhere.csv'"),
    ],
)
def test_a_rule_that_does_not_fit_the_table_is_refused_in_one_line(table: Path, split: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parts(table, split)


def test_a_file_of_parts_with_other_rows_is_refused(table: Path, tmp_path: Path) -> None:
    stated = write(tmp_path / "parts.csv", ["split"], [["train"], ["test"]])
    with pytest.raises(ValueError, match="must have a row for each of the 400 rows of the table, got 2"):
        parts(table, f"file:{stated}")


def test_a_class_that_only_later_rows_have_is_refused(tmp_path: Path) -> None:
    rows = [(n, a, "new" if n > 350 else "b" if n % 2 else "a") for n, a in enumerate(A)]
    path = write(tmp_path / "t.csv", ["day", "a", "y"], rows)
    with pytest.raises(ValueError, match="--split time:day leaves no training row of class 'new'"):
        parts(path, "time:day")


def test_one_group_or_one_time_cannot_be_split(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", ["g", "a", "y"], [(1, a, n) for n, a in enumerate(A)])
    with pytest.raises(ValueError, match="needs at least 2 groups"):
        parts(path, "group:g")
    with pytest.raises(ValueError, match="needs different times"):
        parts(path, "time:g")


def test_a_dropped_column_of_dates_does_not_hinder_the_test_rows(table: Path) -> None:
    found, test = parts(table, "random", drop=("day",))
    assert len(test) == 80
    assert test.x.shape[1] == len(found.columns)


@pytest.mark.parametrize("way", ["random", "group", "time"])
def test_every_row_validates_in_one_fold_and_never_trains_there(way: Any) -> None:
    keys = {"random": None, "group": GROUP, "time": DAY.astype(float)}[way]
    labels = np.unique(LABEL, return_inverse=True)[1].astype(np.int64)
    folds = Division(rule=SplitRule(way=way, by="x"), keys=keys).folds(labels, 5, np.random.default_rng(0))
    held_out = np.concatenate([validation for _, validation in folds])
    assert len(set(held_out.tolist())) == len(held_out)
    assert len(held_out) == (NUM_ROWS if way != "time" else pytest.approx(NUM_ROWS / 2, abs=3))
    for train, validation in folds:
        assert not set(train) & set(validation)
        if way == "group":
            assert not set(GROUP[train]) & set(GROUP[validation])
        if way == "time":
            assert DAY[train].max() < DAY[validation].min()


# Images


@pytest.mark.parametrize("test", [False, True])
def test_images_of_one_patient_stay_on_one_side(tmp_path: Path, test: bool) -> None:
    folder = images(tmp_path / "x", test=test)
    found = load("image_folder", folder, validation_fraction=0.25, split=parse_split("group:_"))
    sealed = load_test("image_folder", folder, like=found)
    assert len(found.train) + len(found.validation) + (0 if test else len(sealed)) == 48
    assert len(found.validation) % 8 == 0  # a patient has 4 images of each class
    assert len(sealed) == 48 if test else len(sealed) % 8 == 0
    assert len(sealed) == len(sealed.groups) == 8 * len(set(sealed.groups.tolist()))  # pyright: ignore


def test_a_file_says_the_part_or_the_group_of_each_image(tmp_path: Path) -> None:
    folder = images(tmp_path / "x")
    files = sorted(str(path.relative_to(folder)) for path in (folder / "train").glob("*/*"))
    said = ["test" if n % 4 == 0 else "valid" if n % 4 == 1 else "train" for n in range(len(files))]
    stated = write(tmp_path / "parts.csv", ["file", "split"], zip(files, said, strict=True))
    found = load("image_folder", folder, split=parse_split(f"file:{stated}"))
    assert (len(found.train), len(found.validation)) == (24, 12)
    assert len(load_test("image_folder", folder, like=found)) == 12
    grouped = write(tmp_path / "groups.csv", ["file", "group"], [(f, n % 8) for n, f in enumerate(files)])
    found = load("image_folder", folder, validation_fraction=0.25, split=parse_split(f"group:{grouped}"))
    assert len(found.validation) % 6 == 0


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("group:-", "needs file names such as patient7-2.png, but no image has '-' in its name, such as p0_0.png"),
        ("group:no.csv", "there is no file 'no.csv'"),
        ("time", "--split time is for a table"),
    ],
)
def test_a_rule_that_does_not_fit_the_images_is_refused(tmp_path: Path, split: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load("image_folder", images(tmp_path / "x"), split=parse_split(split))


# Words, and runs


@pytest.mark.parametrize(
    ("split", "text"),
    [
        ("random", "the test set (a fifth of the rows) and the validation rows are drawn at random"),
        ("time", "the latest fifth of the rows in the order of the file is the test set, and the latest of the others"),
        ("group:id", "are drawn at random in whole groups of 'id'"),
        ("distinct", "are drawn at random with equal rows on one side"),
        ("file:p.csv", "p.csv says which rows train, validate and test"),
    ],
)
def test_every_rule_has_a_sentence(split: str, text: str) -> None:
    assert text in describe_split(parse_split(split), images=False)
    assert parse_split(split).option == split


def test_a_run_keeps_its_rule_and_reads_the_same_rows_again(table: Path, tmp_path: Path) -> None:
    rule = parse_split("group:patient")
    run = make_run(space="tabular_mlp", dataset="csv", data_dir=str(table), split=rule, table=TableOptions(target="y"))
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run", run)
    stored = read_run(tmp_path / "run")
    assert stored.split == rule
    space = load_space("tabular_mlp")
    first, again = data_of(run, space), data_of(stored, space)
    assert rows_of(first.validation) == rows_of(again.validation)
    assert rows_of(load_test("csv", table, like=again)).isdisjoint(rows_of(first.train) | rows_of(first.validation))
    with pytest.raises(ValueError, match=r"\(split is group:patient, not time:day\)"):
        old_run(tmp_path / "run", given={"split": parse_split("time:day")}, trials=None)


def test_rows_that_the_network_reads_alike_are_equal_however_they_are_written(tmp_path: Path) -> None:
    ways = [
        ("1.5", "u", "TRUE", "2024-01-31", "Two  words"),
        ("1.500", "u ", "true", "31.01.2024", "two words"),
        ("15e-1", " u", "True", "2024/1/31", " TWO WORDS "),
    ]
    rows = []
    for n in range(100):
        number = f"{n // 10}.{n % 10}"
        for a, name, truth, day, text in ways:
            rows.append((f"{number}{a[3:]}" if "e" not in a else f"{n}e-1", name, truth, day, f"{text} {n}", n))
    path = write(tmp_path / "t.csv", ["a", "b", "c", "day", "note", "y"], rows)
    found, test = parts(path, "distinct", types={"note": "text"})
    assert not rows_of(test) & (rows_of(found.train) | rows_of(found.validation))
    assert not rows_of(found.train) & rows_of(found.validation)
    assert not any("have the inputs of a training row" in note for note in found.notes)


def test_different_missing_values_are_equal_and_different_texts_are_not() -> None:
    cells = ["NA", "", "nan", "?", "1", "01", "1.0", "-0", "0"]
    numbers = np.array([*cells, *map(str, range(2, 90))], dtype=object)
    keys = inputs_of(numbers, None)
    assert keys[:9] == [None, None, None, None, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert len(set(keys)) == 91
    assert inputs_of(np.array(["7", "7.0", "nan", "NA"], dtype=object), "category") == ["7", "7.0", None, "NA"]
    assert inputs_of(np.array(["True", "TRUE", "x"], dtype=object), None) == ["True", "TRUE", "x"]
    close = [f"{1 + n * 1e-9:.9f}" for n in range(3)]
    assert len(set(inputs_of(np.array([*close, *numbers[9:]], dtype=object), "number"))) == 89, "float32 is enough"
    assert len(set(inputs_of(np.array(close, dtype=object), "number"))) == 3, "float32 is not"


def test_canonical_rows_have_the_groups_of_their_cells(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", ["a", "b", "y"], [(a % 7, "uvw"[a % 3], a) for a in NUMBER])
    sheet = read_sheet(path)
    division, _ = divide_sheet(parse_split("distinct"), sheet, known=NUMBER % 9 > 0, inputs=["a", "b"], kinds={})
    expected = number_groups([(a % 7, a % 3) for a in NUMBER.tolist()])[NUMBER % 9 > 0]
    np.testing.assert_array_equal(division.keys, expected)


def test_a_row_whose_group_is_missing_is_a_group_of_its_own_and_that_is_said(tmp_path: Path) -> None:
    words = ["NaN", "NA", "", "none", "?"]
    rows = [(words[n // 8 % 5] if n % 8 == 0 else f"p{n % 9}", A[n], n) for n in range(NUM_ROWS)]
    path = write(tmp_path / "t.csv", ["patient", "a", "y"], rows)
    found, _ = parts(path, "group:patient")
    said = "50 of 400 rows have no 'patient' ('?', 'NA', 'NaN', 'none' counts as missing); each of them is a group of"
    assert any(note.startswith(said) for note in found.notes)
    assert found.groups is not None
    numbers = np.array([*found.train.y.tolist(), *found.validation.y.tolist()]).astype(int)
    alone = np.isin(found.groups, np.flatnonzero(np.bincount(found.groups) == 1))
    np.testing.assert_array_equal(alone, numbers % 8 == 0)


def test_the_group_of_an_image_may_be_missing(tmp_path: Path) -> None:
    folder = images(tmp_path / "x")
    names = [str(path.relative_to(folder / "train")) for path in sorted((folder / "train").rglob("*.png"))]
    rows = [[name, "NA" if n < 5 else f"g{n % 7}"] for n, name in enumerate(names)]
    stated = write(tmp_path / "p.csv", ["file", "group"], rows)
    found = load("image_folder", folder, split=parse_split(f"group:{stated}"))
    said = f"5 of {len(names)} images have no 'group' ('NA' counts as missing)"
    assert any(note.startswith(said) for note in found.notes)


def test_an_odd_part_is_named_by_its_row_in_the_file(table: Path, tmp_path: Path) -> None:
    rows = [(PART[n] if n != 50 else "tset", A[n], "" if n < 20 else n) for n in NUMBER]
    path = write(tmp_path / "t.csv", ["part", "a", "y"], rows)
    with pytest.raises(ValueError, match=r"for every row, got 'tset' in row 51 \(line 52\)$"):
        parts(path, "column:part")
    stated = write(tmp_path / "p.csv", ["split"], [[part if n != 50 else "tset"] for n, part in enumerate(PART)])
    with pytest.raises(ValueError, match=r"p.csv must say .* got 'tset' in row 51 \(line 52\)$"):
        parts(table, f"file:{stated}")
    folder = images(tmp_path / "x")
    names = [str(path.relative_to(folder / "train")) for path in sorted((folder / "train").rglob("*.png"))]
    stated = write(tmp_path / "i.csv", ["file", "split"], [[n, "tset" if n == names[7] else "train"] for n in names])
    with pytest.raises(ValueError, match=rf"got 'tset' for {names[7]}$"):
        load("image_folder", folder, split=parse_split(f"file:{stated}"))
