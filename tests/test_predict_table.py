"""A table from training to prediction without Ray: export, `analysis.predict` on new rows, ONNX."""

import csv
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis import predict
from analysis.model.load import load_model
from analysis.model.write import ONNX_PACKAGES, export_onnx, verify_export
from analysis.prose.card import python_example
from analysis.scores.metrics import probabilities
from tests.exported_tables import Exported
from tests.tables import (
    change_column,
    mixed_categories,
    write_csv,
)

has_onnx = all(importlib.util.find_spec(name) for name in ONNX_PACKAGES)


@pytest.fixture(params=["numeric", "mixed", "classes"])
def exported(all_exported: dict[str, Exported], request: pytest.FixtureRequest) -> Exported:
    return all_exported[request.param]


def answers(exported: Exported, path: Path, capsys: pytest.CaptureFixture) -> list[dict]:
    assert predict.main([str(exported.run_dir), str(path), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_exported_table_model_answers_as_its_network_did(exported: Exported) -> None:
    found = verify_export(exported.run_dir / "final", exported.dataset.train.x, exported.expected)
    assert found["agreeing"] == len(exported.dataset.train)
    facts = load_model(exported.run_dir).facts
    assert facts["target"] == exported.dataset.target
    assert [column["name"] for column in facts["columns"]] == [column.name for column in exported.dataset.columns]


def test_the_predictions_of_a_file_are_close_to_its_targets(exported: Exported, capsys: pytest.CaptureFixture) -> None:
    found = answers(exported, exported.csv, capsys)
    truth = [row[-1] for row in exported.table[1]]
    assert [row["row"] for row in found] == list(range(1, len(truth) + 1))
    if exported.dataset.classes:
        share = np.mean([row["class"] == label for row, label in zip(found, truth, strict=True)])
        assert share > 0.9
        assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in found)
    else:
        y = np.array(truth, float)
        error = np.array([row["prediction"] for row in found]) - y
        assert np.sqrt((error**2).mean()) < 0.4 * y.std()


def test_columns_are_found_by_name_in_any_order_and_others_are_ignored_and_said(
    all_exported: dict[str, Exported], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    exported = all_exported["mixed"]
    before = answers(exported, exported.csv, capsys)
    header, rows = exported.table
    turned = (["note", *header[::-1]], [["x", *row[::-1]] for row in rows])
    path = write_csv(tmp_path / "turned.csv", turned, separator=";")
    assert predict.main([str(exported.run_dir), str(path), "--json"]) == 0
    said = capsys.readouterr()
    assert [json.loads(line)["prediction"] for line in said.out.splitlines()] == [row["prediction"] for row in before]
    assert "the model does not use the columns note" in said.err


def test_gaps_unknown_categories_and_unreadable_numbers_are_missing_values_and_said(
    all_exported: dict[str, Exported], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    exported = all_exported["mixed"]
    table = change_column(exported.table, "city", lambda _: "Atlantis", rows=[0, 1])
    table = change_column(table, "rooms", lambda _: "many", rows=[0])
    strange = write_csv(tmp_path / "strange.csv", table)
    gaps = change_column(exported.table, "city", lambda _: "", rows=[0, 1])
    empty = write_csv(tmp_path / "empty.csv", change_column(gaps, "rooms", lambda _: "", rows=[0]))
    assert predict.main([str(exported.run_dir), str(strange), "--json"]) == 0
    said = capsys.readouterr()
    assert "column 'city': 'Atlantis' was not a category in training; 2 such cells" in said.err
    assert "column 'rooms': 'many' is not a number; 1 such cell is treated as missing" in said.err
    gone = sum(not row[exported.table[0].index("city")] for row in exported.table[1][2:])
    rows = len(exported.table[1])
    assert f"of {rows} rows, these have no value: 'city' in {gone}; handled as missing values" in said.err
    first = [json.loads(line)["prediction"] for line in said.out.splitlines()]
    assert predict.main([str(exported.run_dir), str(empty), "--json"]) == 0
    said = capsys.readouterr()
    assert [json.loads(line)["prediction"] for line in said.out.splitlines()] == first
    assert f"of {rows} rows, these have no value: 'city' in {gone + 2}, 'rooms' in 1; handled as missing" in said.err
    assert np.isfinite(first).all()


def test_the_program_of_the_model_card_predicts_the_rows_of_a_file(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    expected = answers(exported, exported.csv, capsys)
    shutil.copy(exported.csv, tmp_path / "rows.csv")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(python_example(load_model(exported.run_dir).facts, str(exported.run_dir)), found)
    if exported.dataset.classes:
        assert found["outputs"][0].max() == pytest.approx(max(expected[0]["probabilities"].values()))
    else:
        assert found["outputs"].tolist() == [row["prediction"] for row in expected]


def test_a_missing_column_is_named_with_the_nearest(
    all_exported: dict[str, Exported], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    _, rows = mixed_categories()
    path = write_csv(tmp_path / "other.csv", (["City", "garden", "room", "rent"], rows))
    assert predict.main([str(all_exported["mixed"].run_dir), str(path)]) == predict.BAD_INPUT
    assert "it lacks city, rooms (did 'City' mean 'city'?)" in capsys.readouterr().err
    assert predict.main([str(all_exported["mixed"].run_dir), str(path), str(all_exported["mixed"].csv)]) == 2


def test_the_rows_are_written_again_with_their_predictions(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    found = answers(exported, exported.csv, capsys)
    path = tmp_path / "predicted.csv"
    assert predict.main([str(exported.run_dir), str(exported.csv), "--out", str(path)]) == 0
    with path.open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    header, rows = exported.table
    assert [[row[name] for name in header] for row in written] == rows
    other = tmp_path / "other.csv"
    assert predict.main([str(exported.run_dir), str(exported.csv), f"--output={other}"]) == 0
    assert other.read_bytes() == path.read_bytes()
    column = f"predicted {exported.dataset.target}"
    if exported.dataset.classes:
        assert [row[column] for row in written] == [row["class"] for row in found]
        assert float(written[0]["probability of rare"]) == found[0]["probabilities"]["rare"]
    else:
        assert [float(row[column]) for row in written] == [row["prediction"] for row in found]


def test_what_is_printed_has_a_line_for_each_row(exported: Exported, capsys: pytest.CaptureFixture) -> None:
    assert predict.main([str(exported.run_dir), str(exported.csv), "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(exported.table[1])
    assert lines[0].startswith("row  1")
    assert lines[0].count("%") == (2 if exported.dataset.classes else 0)


@pytest.mark.parametrize("content", ["size\n50\n", "id,size,age\n", ""])
def test_a_file_without_rows_or_columns_predicts_nothing(
    all_exported: dict[str, Exported], tmp_path: Path, content: str, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    assert predict.main([str(all_exported["numeric"].run_dir), str(path)]) == predict.BAD_INPUT
    assert capsys.readouterr().err.startswith(f"error: {path} ")


def test_columns_under_other_names_are_refused(all_exported: dict[str, Exported], tmp_path: Path) -> None:
    for name in ("model.json", "model.safetensors"):
        (tmp_path / name).write_bytes((all_exported["mixed"].run_dir / "final" / name).read_bytes())
    facts = json.loads((tmp_path / "model.json").read_text())
    facts["columns"][0]["categories"].reverse()
    (tmp_path / "model.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="names the columns 'city, garden, rooms', but its weights"):
        load_model(tmp_path)
    facts["columns"] = [{"title": "city"}]
    (tmp_path / "model.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="must describe its columns"):
        load_model(tmp_path)


def test_a_written_file_needs_a_table_and_one_file(
    all_exported: dict[str, Exported], capsys: pytest.CaptureFixture
) -> None:
    exported = all_exported["mixed"]
    assert predict.main([str(exported.run_dir), str(exported.csv), str(exported.csv), "--out", "x.csv"]) == 2
    assert "--out takes one input file, got 2" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not has_onnx, reason="needs onnx, onnxscript and onnxruntime")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_onnx_file_of_a_table_takes_gaps_and_answers_in_the_unit_of_the_target(
    all_exported: dict[str, Exported],
) -> None:
    import onnxruntime  # pyright: ignore[reportMissingImports]

    exported = all_exported["mixed"]
    x = torch.cat([exported.dataset.train.x, torch.full((1, 3), torch.nan).index_fill(1, torch.tensor([0, 1]), 0.0)])
    found = export_onnx(exported.run_dir / "final", x)
    assert found["agreeing"] == found["rows"] == len(x)
    session = onnxruntime.InferenceSession(str(exported.run_dir / "final" / "model.onnx"))
    outputs = np.asarray(session.run(None, {"x": exported.dataset.train.x.numpy()})[0])[:, 0]
    np.testing.assert_allclose(outputs, exported.expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not has_onnx, reason="needs onnx, onnxscript and onnxruntime")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_onnx_file_of_a_table_that_needs_float64_keeps_its_digits(all_exported: dict[str, Exported]) -> None:
    import onnxruntime  # pyright: ignore[reportMissingImports]

    exported = all_exported["wide"]
    assert exported.dataset.train.x.dtype == exported.dataset.train.y.dtype == torch.float64
    found = export_onnx(exported.run_dir / "final", exported.dataset.train.x)
    assert found["agreeing"] == found["rows"] == len(exported.expected)
    session = onnxruntime.InferenceSession(str(exported.run_dir / "final" / "model.onnx"))
    outputs = np.asarray(session.run(None, {"x": exported.dataset.train.x.numpy()})[0])[:, 0]
    assert outputs.dtype == np.float64
    spread = float(exported.dataset.train.y.std())
    np.testing.assert_allclose(outputs - 1e12, exported.expected - 1e12, atol=1e-3 * spread)


@pytest.mark.slow
@pytest.mark.skipif(not has_onnx, reason="needs onnx, onnxscript and onnxruntime")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    "name", ["log", "ranks", "neighbours", "neighbours of classes", "members", "members of classes"]
)
def test_the_onnx_file_answers_in_the_unit_of_a_bent_target_and_keeps_its_neighbours(
    all_exported: dict[str, Exported], name: str
) -> None:
    import onnxruntime  # pyright: ignore[reportMissingImports]

    exported = all_exported[name]
    found = export_onnx(exported.run_dir / "final", exported.dataset.train.x)
    assert found["agreeing"] == found["rows"] == len(exported.expected)
    session = onnxruntime.InferenceSession(str(exported.run_dir / "final" / "model.onnx"))
    outputs = np.asarray(session.run(None, {"x": exported.dataset.train.x[:7].numpy()})[0])
    answers = probabilities(outputs) if exported.dataset.classes else outputs[:, 0]
    np.testing.assert_allclose(answers, exported.expected[:7], rtol=1e-3, atol=1e-4)


def test_a_model_that_needs_float64_predicts_the_rows_of_a_file_to_their_digits(
    all_exported: dict[str, Exported], capsys: pytest.CaptureFixture
) -> None:
    exported = all_exported["wide"]
    found = np.array([row["prediction"] for row in answers(exported, exported.csv, capsys)])
    targets = np.array([float(row[-1]) for row in exported.table[1]])
    assert np.corrcoef(found - 1e12, targets - 1e12)[0, 1] > 0.9


def test_columns_of_a_file_are_never_replaced_by_predictions(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    assert predict.main([str(exported.run_dir), str(exported.csv), "--out", str(first)]) == 0
    assert predict.main([str(exported.run_dir), str(first), "--out", str(second)]) == 2
    name, said = f"predicted {exported.dataset.target}", capsys.readouterr().err
    assert f"--out cannot have two columns with the name {name!r}, got a second one; rename or remove" in said
    assert not second.exists()
    assert predict.main([str(exported.run_dir), str(first)]) == 0
    capsys.readouterr()
    assert predict.main([str(exported.run_dir), str(first), "--out", str(first)]) == 2
    assert "--out must not be one of the input files" in capsys.readouterr().err
    assert predict.main([str(exported.run_dir), str(first), "--out", str(tmp_path / "no" / "x.csv")]) == 2
    assert "cannot be written: there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1e400", "-1e39", "Infinity", "+inf", "1e1000"])
def test_numbers_beyond_float32_are_missing_and_said(
    all_exported: dict[str, Exported], tmp_path: Path, text: str, capsys: pytest.CaptureFixture
) -> None:
    exported = all_exported["numeric"]
    path = write_csv(tmp_path / "rows.csv", change_column(exported.table, "size", lambda _: text, rows=[7]))
    assert predict.main([str(exported.run_dir), str(path), "--json"]) == 0
    said = capsys.readouterr().err
    assert f"column 'size': {text!r} is too large for float32; 1 such cell is" in said
    assert "the first in row 8 (line 9)" in said


def test_numbers_in_another_notation_are_predicted_alike(
    all_exported: dict[str, Exported], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    exported = all_exported["numeric"]
    german = change_column(exported.table, "size", lambda cell: cell.replace(".", ","))
    found = answers(exported, write_csv(tmp_path / "german.csv", german, separator="\t"), capsys)
    assert [row["prediction"] for row in found] == [
        row["prediction"] for row in answers(exported, exported.csv, capsys)
    ]


@pytest.mark.parametrize("content", [b'id,size,age\n1,"2,3\n4,5,6\n', b"id,size,age\n1,2\r,3\n", b"\xff\xfei\0d"])
def test_a_damaged_file_predicts_nothing_in_one_line(
    all_exported: dict[str, Exported], tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    assert predict.main([str(all_exported["numeric"].run_dir), str(tmp_path / "rows.csv")]) == predict.BAD_INPUT
    assert capsys.readouterr().err.count("\n") == 1


def test_a_row_without_any_value_is_predicted_and_empty_lines_and_those_above_the_header_are_not(
    all_exported: dict[str, Exported], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    exported = all_exported["mixed"]
    header, first, *_ = exported.csv.read_text().splitlines()
    path = tmp_path / "gaps.csv"
    commas = "," * header.count(",")
    path.write_text("\n".join([commas, "", header, first, commas, "", "  ", ",", first]) + "\n")
    found = answers(exported, path, capsys)
    assert len(found) == 3
    assert found[0]["prediction"] == found[2]["prediction"]
