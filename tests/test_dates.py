"""Columns of dates: which ways of writing are read, what becomes of them in a table, and in the rows to predict."""

from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.datasets.tables import findings, table_overview
from analysis.model.tables import answer_table
from search.forecast.preview import describe_columns
from tests.tables import NUM_ROWS, A, B, exported, read, told, trained, write
from trainables.data.dates import are_dates, date_of, read_dates, with_days
from trainables.data.notation import parse_numbers
from trainables.data.options import TableOptions
from trainables.data.split import parse_split
from trainables.sources.load import load, load_test

DAYS = [f"{2020 + i // 336}-{1 + i // 28 % 12:02d}-{1 + i % 28:02d}" for i in range(NUM_ROWS)]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2024-01-31", "19753"),
        ("2024/1/31", "19753"),
        ("2024.01.31", "19753"),
        ("31.01.2024", "19753"),
        ("31.1.2024 12:00", "19753.5"),
        ("2024-01-31T06:00:00Z", "19753.25"),
        ("2024-01-31 06:00:00.000", "19753.25"),
        ("2024-01-31 06:00:00,5+06:00", "19753.00000578704"),
        ("1969-12-31", "-1"),
        ("2024-02-29", "19782"),
    ],
)
def test_a_date_is_read_as_days_whatever_its_form(text: str, days: str):
    assert read_dates([text, "", "NA", f" {text} "]) == (days, "", "NA", days)


@pytest.mark.parametrize(
    "text", ["01/02/2024", "1/31/24", "2024-02-30", "2023-02-29", "20240131", "2024-01", "12:30", "1.2.3", "31.01.24",
             "2024-01-31 25:00", "2024-01-31 noon", "v2024.01.02", "1.234.567", "", "0000-00-00"],
)  # fmt: skip
def test_what_may_mean_something_else_is_no_date(text: str):
    assert read_dates([text] * 5) is None


def test_a_column_with_a_few_other_cells_is_one_of_dates_and_with_many_it_is_not():
    assert read_dates([*DAYS[:95], *["unknown"] * 5]) is not None
    assert read_dates([*DAYS[:80], *["unknown"] * 20]) is None
    assert read_dates([*["unknown"] * 95, *DAYS[:5]]) is None
    assert read_dates([*["unknown"] * 20, *DAYS]) is not None, "wherever the other cells are"
    assert read_dates([""] * 20) is None
    assert read_dates([*[""] * 90, *DAYS[:8], "x", "y"]) is None, "nearly all of the filled cells"


def test_digits_among_dates_are_a_date_too():
    assert read_dates([*["2024-01-31"] * 95, *["20240201"] * 5]) == ("19753",) * 95 + ("19754",) * 5
    assert read_dates([*["2024-01-31"] * 95, *["20240230"] * 5]) == ("19753",) * 95 + ("not a date: 20240230",) * 5


@pytest.mark.parametrize("text", ["2024", "45322", " 19753 ", "1.5", "1e3", "inf"])
def test_a_number_among_dates_is_not_taken_for_days(text: str):
    (cell,) = with_days([text])
    assert np.isnan(parse_numbers(np.array([cell], dtype=object)))
    assert with_days(["", "NA", "soon"]) == ("", "NA", "soon")


def test_years_among_dates_are_missing_and_said(tmp_path: Path):
    cells = [*DAYS[:-10], *["2016"] * 10]
    path = write(tmp_path / "t.csv", "day,a,y", cells, A, B)
    dataset = read(path)
    said = told(dataset)
    assert "column 'day' contains dates; '2016' in row 291 (line 292), '2016' in row 292 (line 293)" in said
    assert "and 7 more cells: not dates, treated as missing (as categories: --types day=category)" in said
    x = torch.cat([dataset.train.x, dataset.validation.x, load_test("csv", path, like=dataset).x])[:, 0]
    assert int(x.isnan().sum()) == 10
    assert x.nan_to_num(1e9).min() == 18262
    with pytest.raises(ValueError, match=r"--split time:day needs a date .* in every row of 'day', got '2016' in row"):
        load("csv", path, table=TableOptions(target="y"), split=parse_split("time:day"))
    rows = tmp_path / "rows.csv"
    rows.write_text("day,a\n2016,0.5\n45322,0.5\n,0.5\n")
    answers = answer_table(exported(dataset, tmp_path), str(rows))
    assert answers.outputs[0] == answers.outputs[1] == answers.outputs[2]
    assert "column 'day': '2016' is not a date in a form such as 2024-01-31; 2 such cells are" in answers.notes[0]


def test_dates_that_cannot_be_read_are_still_known_as_dates():
    assert are_dates(["01/31/2024", "1/2/24", ""])
    assert not are_dates(["12.5", "13.25"])


def test_a_column_of_dates_is_an_input_in_days(tmp_path: Path):
    cells = [*DAYS[:-2], "2021-02-30", ""]
    path = write(tmp_path / "t.csv", "day,a,y", cells, A, B)
    dataset = read(path)
    assert [(c.name, c.kind, c.gaps, c.dates) for c in dataset.columns] == [
        ("day", "number", True, True), ("a", "number", False, False),
    ]  # fmt: skip
    assert describe_columns(dataset) == "numbers: a; dates: day"
    said = told(dataset)
    assert f"dates read as days after 1970-01-01: 'day' '{DAYS[0]}' as 18262" in said
    assert "'day' contains dates" in said
    assert "--drop" not in said, "a date says more than the number of a row"
    assert "'2021-02-30' in row" in said
    x = torch.cat([dataset.train.x, dataset.validation.x, load_test("csv", path, like=dataset).x])[:, 0]
    assert int(x.isnan().sum()) == 2
    assert x.nan_to_num(1e9).min() == 18262


def test_the_report_tells_the_first_and_the_last_date(tmp_path: Path):
    dataset = read(write(tmp_path / "t.csv", "day,a,y", DAYS, A, B))
    days = dataset.train.x[:, 0]
    first, last = date_of(float(days.min())), date_of(float(days.max()))
    assert first in DAYS[:20]
    assert last in DAYS[-20:]
    said = f"day contains dates from {first} to {last}, as days after 1970-01-01."
    assert said in findings(table_overview(dataset))


def test_a_network_learns_from_a_column_of_dates(tmp_path: Path):
    path = write(tmp_path / "t.csv", "day,y", DAYS, [f"{3 * i + 5}.5" for i in range(NUM_ROWS)])
    assert trained(read(path)).history[-1]["r2"] > 0.9


def test_dates_may_be_categories_or_left_out(tmp_path: Path):
    path = write(tmp_path / "t.csv", "day,a,y", [DAYS[i % 5] for i in range(NUM_ROWS)], A, B)
    column = read(path, types={"day": "category"}).columns[0]
    assert (column.kind, sorted(column.categories)) == ("category", DAYS[:5])
    assert [c.name for c in read(path, drop=("day",)).columns] == ["a"]


def test_dates_of_an_unknown_form_are_one_line_with_the_way_out(tmp_path: Path):
    american = [f"{1 + i // 28 % 12:02d}/{1 + i % 28:02d}/{2020 + i // 336}" for i in range(NUM_ROWS)]
    with pytest.raises(ValueError, match=r"'day' contains .* different dates .*write them as 2024-01-31.*--drop day"):
        read(write(tmp_path / "t.csv", "day,a,y", american, A, B))
    few = write(tmp_path / "few.csv", "day,a,y", [american[i % 4] for i in range(NUM_ROWS)], A, B)
    said = told(read(few))
    assert "column 'day' contains dates, read as categories, such as '01/01/2020' in row 1 (line 2)" in said
    assert "write them as 2024-01-31" in said


def test_a_date_is_not_predicted_as_a_number(tmp_path: Path):
    with pytest.raises(ValueError, match="target 'y'"):
        read(write(tmp_path / "t.csv", "a,y", A, DAYS))


def test_rows_to_predict_may_write_their_dates_in_another_form(tmp_path: Path):
    dataset = read(write(tmp_path / "t.csv", "day,a,y", DAYS, A, B))
    model = exported(dataset, tmp_path)
    outputs = []
    for number, day in enumerate(("2021-03-04", "04.03.2021", "2021/3/4", "2021-03-04 00:00:00")):
        path = tmp_path / f"{number}.csv"
        path.write_text(f"day,a\n{day},0.5\n")
        outputs.append(answer_table(model, str(path)).outputs.tolist())
    assert outputs.count(outputs[0]) == 4
    path = tmp_path / "mixed.csv"
    path.write_text("day,a\n2021-03-04,0.5\n03/04/2021,0.5\n,0.5\n")
    answers = answer_table(model, str(path))
    assert answers.outputs[0] == pytest.approx(outputs[0][0])
    assert answers.outputs[1] == answers.outputs[2]
    assert "column 'day': '03/04/2021' is not a date in a form such as 2024-01-31; 1 such cell" in answers.notes[0]
    assert answers.notes[1] == "of 3 rows, these have no value: 'day' in 1; handled as missing values in training"


def test_a_date_in_a_column_of_numbers_is_no_number(tmp_path: Path):
    dataset = read(write(tmp_path / "t.csv", "day,a,y", DAYS, A, B))
    path = tmp_path / "rows.csv"
    path.write_text("day,a\n2021-03-04,2021-03-04\n")
    answers = answer_table(exported(dataset, tmp_path), str(path))
    assert "column 'a': '2021-03-04' is not a number" in answers.notes[-1]
