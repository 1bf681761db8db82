"""`analysis.predict` on files of many rows and many images: read, predicted and written in blocks."""

import csv
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis import predict
from analysis.model.load import Model, load_model
from analysis.model.output import writer_to
from analysis.model.tables import TableAnswers, TablePredictor, whole_numbers
from tests.exported import export_digits
from tests.exported_tables import Exported
from tests.tables import change_column, imbalanced_classes, write_csv
from trainables.sources.stream import open_rows

Folders = dict[str, Exported]


def in_blocks(model: Model, path: Path, size: int) -> tuple[list[TableAnswers], tuple[str, ...]]:
    with open_rows(str(path)) as rows:
        predictor = TablePredictor(model, str(path), rows)
        return list(predictor.answers(size=size)), (*predictor.notes, *predictor.notes_on_cells)


def predictions(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row[-1] for row in list(csv.reader(file))[1:]]


@pytest.mark.parametrize("name", ["numeric", "mixed", "classes"])
def test_blocks_have_the_predictions_and_notes_of_the_whole_file(
    all_exported: Folders, tmp_path: Path, name: str
) -> None:
    exported = all_exported[name]
    table, column = exported.table, exported.dataset.columns[-1].name
    path = write_csv(tmp_path / "rows.csv", change_column(table, column, lambda _: "what?", rows=[100, 150]))
    model = load_model(exported.run_dir)
    whole, notes = in_blocks(model, path, 10_000)
    parts, notes_of_parts = in_blocks(model, path, 37)
    assert (len(whole), len(parts)) == (1, -(-len(table[1]) // 37))
    np.testing.assert_allclose(np.concatenate([part.outputs for part in parts]), whole[0].outputs, rtol=1e-4)
    assert [row["row"] for part in parts for row in part.rows()] == list(range(1, len(table[1]) + 1))
    assert notes == notes_of_parts
    assert "2 such cells are treated as missing, the first in row 101 (line 102)" in "\n".join(notes)


def test_the_notation_of_a_column_is_that_of_the_whole_file(tmp_path: Path) -> None:
    values = [str(i) for i in range(1, 12_001)] + ["0,5", "1.250,75"]
    path = tmp_path / "rows.csv"
    path.write_text("a;b\n" + "".join(f"{value};x\n" for value in values))
    with open_rows(str(path)) as rows:
        reading = rows.reading("a")
        assert reading is not None
        read = [reading.plain(text) for block in rows.blocks() for text in block.texts["a"]]
    assert (read[0], read[999], read[-2:]) == ("1", "1000", ["0.5", "1250.75"])
    assert "read as numbers: 'a' '0,5' as 0.5" in rows.notes


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        (["1,2,3"], r"must have the 2 cells .* got 3 in '1,2,3'.*\(line 15002\)"),
        (['1,"x', "2,y"], "the quote that opens in line 15002 of .* is never closed"),
        (["1,\0"], "line 15002 of .* contains a NUL character"),
    ],
)
def test_a_fault_far_down_is_found_before_anything_is_predicted(tmp_path: Path, rows: list[str], cause: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["a,b", *["1,2"] * 15_000, *rows]))
    with pytest.raises(ValueError, match=cause), open_rows(str(path)):
        pass


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-16"),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: b"sep=;\n" + text.replace(",", ";").encode(),
        lambda text: text.replace("\n", "\n\n  \n").encode(),
        lambda text: (text + text.partition("\n")[0] + "\n").encode(),
        lambda text: text.encode("cp1252"),
    ],
)
def test_the_form_of_a_file_does_not_change_its_predictions(all_exported: Folders, tmp_path: Path, encode) -> None:
    exported = all_exported["mixed"]
    path = tmp_path / "rows.csv"
    path.write_bytes(encode(exported.csv.read_text(encoding="utf-8").replace("\r\n", "\n")))
    model = load_model(exported.run_dir)
    (found,), _ = in_blocks(model, path, 10_000)
    (expected,), _ = in_blocks(model, exported.csv, 10_000)
    np.testing.assert_array_equal(found.outputs, expected.outputs)


def test_rows_from_a_pipe_are_those_of_the_file(all_exported: Folders, monkeypatch, capsys) -> None:
    exported = all_exported["mixed"]
    assert predict.main([str(exported.run_dir), str(exported.csv), "--json"]) == 0
    expected = capsys.readouterr().out
    with subprocess.Popen(["cat", str(exported.csv)], stdout=subprocess.PIPE) as process:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=process.stdout))
        assert predict.main([str(exported.run_dir), "-", "--json"]) == 0
    assert capsys.readouterr().out == expected.replace(str(exported.csv), "-")


def test_the_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    peaks = []
    for count in (22_000, 44_000):
        path = tmp_path / "rows.csv"
        path.write_text("a,b\n" + "".join(f"{i},text {i}\n" for i in range(count)))
        tracemalloc.start()
        with open_rows(str(path)) as rows:
            assert sum(map(len, rows.blocks())) == rows.num_rows == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 12e6


@pytest.mark.parametrize("name", ["numeric", "mixed", "classes"])
def test_a_parquet_file_has_the_predictions_of_the_csv_file(all_exported: Folders, tmp_path: Path, name: str) -> None:
    exported, run = all_exported[name], str(all_exported[name].run_dir)
    frame = pd.read_csv(exported.csv)
    frame.to_parquet(tmp_path / "rows.parquet")
    assert predict.main([run, str(exported.csv), "--out", str(tmp_path / "csv.csv")]) == 0
    assert predict.main([run, str(tmp_path / "rows.parquet"), "--out", str(tmp_path / "out.parquet")]) == 0
    assert predict.main([run, str(tmp_path / "rows.parquet"), "--out", str(tmp_path / "parquet.csv")]) == 0
    assert predictions(tmp_path / "csv.csv") == predictions(tmp_path / "parquet.csv")
    written = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(written[frame.columns], frame)
    assert list(map(str, written[written.columns[-1]])) == predictions(tmp_path / "csv.csv")
    assert predict.main([run, str(exported.csv), "--out", str(tmp_path / "texts.parquet")]) == 0
    assert len(pd.read_parquet(tmp_path / "texts.parquet")) == len(frame)


def test_whole_numbers_with_gaps_are_categories_in_parquet_too() -> None:
    assert whole_numbers(["3.0", "2.5", "", "4.0"], {"3": 1, "4.0": 2}) == ["3", "2.5", "", "4.0"]


def test_a_damaged_parquet_file_is_one_line(all_exported: Folders, tmp_path: Path, capsys) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 and nothing more")
    assert predict.main([str(all_exported["mixed"].run_dir), str(path)]) == predict.BAD_INPUT
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path} is damaged Parquet: ")
    assert said.count("\n") == 1


def test_columns_of_probabilities_are_named_as_the_classes_on_request(
    all_exported: Folders, tmp_path: Path, capsys
) -> None:
    exported, path = all_exported["classes"], tmp_path / "out.csv"
    asked = [str(exported.run_dir), str(exported.csv), "--out", str(path), "--probabilities"]
    assert predict.main(asked) == 0
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    classes = exported.dataset.classes
    assert all(sum(float(row[name]) for name in classes) == pytest.approx(1, abs=1e-5) for row in rows)
    assert list(rows[0])[-len(classes) :] == list(classes)
    header, cells = imbalanced_classes()
    taken = write_csv(tmp_path / "taken.csv", ([*header, "rare"], [[*row, "1"] for row in cells]))
    assert predict.main([str(exported.run_dir), str(taken), *asked[2:]]) == 2
    assert "--out cannot have two columns with the name 'rare'" in capsys.readouterr().err
    assert predict.main([str(all_exported["mixed"].run_dir), str(exported.csv), "--probabilities"]) == 2
    assert "--probabilities is for classes, but this model predicts numbers" in capsys.readouterr().err


def test_all_probabilities_of_a_row_are_printed_on_request(all_exported: Folders, capsys) -> None:
    exported = all_exported["classes"]
    assert predict.main([str(exported.run_dir), str(exported.csv), "--probabilities", "--top", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[0].count("%") == len(exported.dataset.classes)


def test_the_predictions_of_many_images_are_written_to_a_file(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(predict, "IMAGES", 16)
    exported = export_digits(tmp_path / "run")
    files = []
    for index, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)):
        files.append(str(tmp_path / f"{index}.png"))
        Image.fromarray(pixels).save(files[-1])
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    out = tmp_path / "out.csv"
    asked = [str(exported.run_dir), *files[:30], str(broken), *files[30:]]
    assert predict.main([*asked, "--out", str(out)]) == predict.BAD_INPUT
    said = capsys.readouterr()
    assert said.out == f"40 images with predictions written to {out}\n"
    assert f"error: {broken} cannot be read as an image" in said.err
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == files
    assert predict.main([str(exported.run_dir), *files[:3], "--json"]) == 0
    for line, row in zip(capsys.readouterr().out.splitlines(), rows, strict=False):
        found = json.loads(line)
        assert found["class"] == row["class"]
        assert float(row["probability of 3"]) == pytest.approx(found["probabilities"]["3"], rel=1e-4)
    assert predict.main([str(exported.run_dir), files[0], "--out", str(files[0])]) == 2


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_killed_command_leaves_no_half_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    code = (
        "import os, pathlib, sys\nfrom analysis.model.output import writer_to\n"
        "with writer_to(pathlib.Path(sys.argv[1])) as writer:\n    writer.write({'a': ['1'] * 1000})\n"
        "    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert not path.exists()
    path.write_text("before")
    with pytest.raises(ValueError, match="expected length 1|shorter"), writer_to(path) as writer:
        writer.write({"a": ["1"], "b": []})
    assert path.read_text() == "before"
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_file_that_cannot_be_written_is_one_line(all_exported: Folders, capsys) -> None:
    exported = all_exported["mixed"]
    assert predict.main([str(exported.run_dir), str(exported.csv), "--out", "/dev/full"]) == 2
    assert "--out '/dev/full' cannot be written: No space left" in capsys.readouterr().err
