"""Every figure can be drawn, whatever the data hold; one that cannot costs neither the page nor the other figures."""

import math
import re
from dataclasses import asdict
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from analysis.datasets.tables import TableOverview, table_overview
from analysis.pages.data import table_data
from analysis.pages.page import Folder, Picture, Text
from analysis.plots import datasets as overview
from analysis.plots import fonts, style
from analysis.plots.drawing import draw
from analysis.plots.table import plot_dependence
from analysis.plots.ticks import date_ticks, name_ticks
from analysis.studies.results import FinalResults
from analysis.wording import together
from trainables.data.dataset import Dataset, Split
from trainables.data.dates import date_of
from trainables.data.table import Column

RANDOM = np.random.default_rng(0)
COLUMNS = {
    "days": 20240101 + RANDOM.integers(0, 28, 300),
    "one day": np.full(300, 20240131),
    "a round constant": np.full(300, 5_000_000),
    "zeros": np.zeros(300),
    "ids": np.arange(10_000_001, 10_000_301),
    "five ids": 10_000_001 + np.arange(300) % 5,
    "seconds since 1970": 1_700_000_000 + RANDOM.uniform(0, 3600, 300),
    "milliseconds since 1970": 1_700_000_000_000 + RANDOM.integers(0, 120_000, 300),
    "Julian days": 2_460_000 + 0.25 * RANDOM.integers(0, 40, 300),
    "both ends of float32": np.resize([3e38, -3e38, 1.0], 300),
    "beyond float32": np.resize([1e300, -1e300, 1.0], 300),
    "farads": 1e-13 * RANDOM.uniform(1, 9, 300),
    "infinities": np.resize([np.inf, 1.0, 2.0, -np.inf], 300),
    "only infinities": np.full(300, np.inf),
    "gaps": np.resize([np.nan, 1.0, 2.0, 3.0], 300),
    "nothing": np.full(300, np.nan),
    "truth values": np.arange(300) % 2,
    "next to each other": np.resize([1e17, np.nextafter(1e17, np.inf)], 300),
    "one row": np.array([20240131.0]),
    "two rows": np.array([1.0, 3e38]),
}


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def dataset(x: np.ndarray, y: np.ndarray, *, names: tuple[str, ...] = (), **fields: Any) -> Dataset:
    rows = Split(x=torch.tensor(x), y=torch.tensor(y))
    names = names or tuple(f"column {i}" for i in range(x.shape[1]))
    given: dict[str, Any] = {"task": "regression", "classes": (), "target": "price"}
    given["columns"] = tuple(Column(name=name, kind="number") for name in names)
    return Dataset(name="csv", train=rows, validation=rows, mean=(), std=(), checksum="", **given | fields)


def found(values: np.ndarray, **fields: Any) -> TableOverview:
    """A table in which one feature and the target hold these values."""
    values = values.astype(float)
    return table_overview(dataset(np.column_stack([values, np.arange(len(values))]), values, **fields))


def test_one_feature_and_classes_without_an_order_have_nothing_to_correlate(tmp_path):
    rows = dataset(np.arange(30.0)[:, None], np.arange(30) % 3, task="classification", classes=("a", "b", "c"))
    made = draw("x", lambda: overview.plot_correlations(table_overview(rows)), tmp_path)
    assert "nothing to correlate" in made.svg


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_and_a_target_of_any_values_are_drawn(name, tmp_path, capsys):
    section = table_data(found(COLUMNS[name]), Folder(tmp_path))
    assert sum(isinstance(block, Picture) for block in section.blocks) == 3
    assert capsys.readouterr().err == ""
    assert not list(tmp_path.rglob("*.txt"))


def test_zeros_are_drawn_in_a_process_that_flushes_denormal_numbers(tmp_path, capsys):
    torch.set_flush_denormal(True)  # as every training does
    try:
        assert (
            sum(isinstance(block, Picture) for block in table_data(found(np.zeros(300)), Folder(tmp_path)).blocks) == 3
        )
    finally:
        torch.set_flush_denormal(False)
    assert capsys.readouterr().err == ""


def ticks(ax) -> list[str]:
    ax.figure.canvas.draw()
    return [text.get_text() for text in ax.get_xticklabels()]


@pytest.mark.parametrize("count", [3, 8, 14, 24, 60])
def test_names_at_an_axis_do_not_overlap(count):
    with style.styled():
        _, (ax, wide) = plt.subplots(1, 2, figsize=(6.8, 2.8), layout="constrained")
    name_ticks(ax, [f"district {number}" for number in range(count)])
    name_ticks(wide, [str(number) for number in range(4)])
    assert ticks(ax)[0] == "district 0"
    written = [text for text in ax.get_xticklabels() if text.get_text()]
    boxes = [text.get_window_extent() for text in written]
    upright = written[0].get_rotation() == 90
    flat = written[0].get_rotation() == 0
    assert len(written) == (count if count <= 24 else 20)
    if upright or flat:
        assert all(one.x1 <= other.x0 + 0.5 for one, other in pairwise(boxes))
    else:
        apart = (boxes[1].x1 - boxes[0].x1) * np.sin(np.deg2rad(written[0].get_rotation()))
        assert apart >= written[0].get_fontsize() * ax.figure.dpi / 72 * 0.9


def test_axes_of_dates_show_dates(tmp_path):
    days = 19_000 + RANDOM.integers(0, 800, 300).astype(float)
    columns = (Column(name="day", kind="number", dates=True), Column(name="size", kind="number"))
    rows = dataset(np.column_stack([days, days]), days, columns=columns)
    day, size = (style.new_axes(None) for _ in columns)
    for panel, ax in zip(overview.feature_panels(table_overview(rows)), (day, size), strict=True):
        panel(ax)
    assert {"2022", "2023", "2024"} <= {*ticks(day)}
    assert "19200" in ticks(size)
    curve = {"mean": [1.0, 2.0], "low": [0.5, 1.5], "high": [1.5, 2.5]}
    curves = [
        {"feature": c.name, "kind": "number", "x": [19_000.0, 19_002.5], "rug": [], "curves": {"": curve}}
        for c in columns
    ]
    results = FinalResults(
        metric="rmse", winner="a", entrants=[], dependence=curves, columns=[asdict(c) for c in columns]
    )
    figure = plot_dependence(results)
    assert any(text.startswith("2022-01-0") for text in ticks(figure.axes[0]))
    assert not any("-" in text for text in ticks(figure.axes[1]))
    beyond = style.new_axes(None)
    date_ticks(beyond, np.array([20_240_131.0]))
    beyond.figure.canvas.draw()
    assert date_of(20_240_131.0) == "day 20240131"


def test_captions_count_a_text_as_one_feature(tmp_path):
    columns = [Column(name=f"review ~ {number}", kind="number", text="review") for number in range(1, 17)]
    columns += [Column(name=f"number {number}", kind="number") for number in range(3)]
    rows = dataset(RANDOM.normal(size=(60, 19)), RANDOM.normal(size=60), columns=tuple(columns))
    said = str(table_data(table_overview(rows), Folder(tmp_path)).blocks)
    assert "with 4 features. " in said
    assert "to the 99.5th percentile. Texts are not drawn." in said
    assert "Each number of a text has a row." in said


NAMES = {
    "Chinese": ("低", "中", "高"),
    "emoji": ("🍎", "🍊", "👨‍👩‍👧"),
    "right to left": ("גבוה", "مرتفع", "נמוך"),
    "combining": ("e\u0301te\u0301", "a\u0300", "Z\u0351\u036b\u0343algo"),
    "long": ("x" * 200, "y" * 200, "高" * 200),
    "markup": ("$\\frac{1}{2}$", "<b>&amp;</b>", "%s {0} \\x1b"),
    "control characters": ("a\x1b[31mb", "line\nbreak\ttab", "nul\x00 bell\x07"),
    "overrides": ("\u202eevil", "\u2066isolated\u2069", "\u200fmark"),
    "surrogates": ("\ud83d", "caf\udce9", "\uffff"),
    "blank": ("", " ", "\u3000"),
}
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200f\ud800-\udfff\uffff]")


@pytest.mark.parametrize("kind", NAMES)
def test_names_of_any_script_are_drawn_and_nothing_in_them_steers_a_reader(kind, tmp_path, capsys):
    names = NAMES[kind]
    x, y = RANDOM.normal(size=(60, 3)), np.arange(60) % 3
    x[:, 2] = y + 1
    columns = tuple(Column(name=name, kind="number") for name in names[:2])
    columns += (Column(name=names[2], kind="category", categories=names),)
    fields = {"task": "classification", "classes": names, "columns": columns, "target": names[0]}
    section = table_data(table_overview(dataset(x, y, **fields)), Folder(tmp_path))
    assert sum(isinstance(block, Picture) for block in section.blocks) == 3
    assert "could not be drawn" not in capsys.readouterr().err
    for path in tmp_path.rglob("*.svg"):
        assert not STEERING.search(path.read_text(encoding="utf-8")), path
        ElementTree.parse(path)


def test_classes_without_a_font_carry_their_number_and_the_terminal_hears_of_it_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fonts, "_fallbacks", lambda lacking: ())  # a machine with no other font
    monkeypatch.setattr(fonts, "_said", set())
    assert fonts.names_on_axis(["low", "high"], 9) == ["low", "high"]
    assert fonts.names_on_axis(["低", "高", "low"], 9) == ["0: 低", "1: 高", "2: low"]
    for name in ("first", "second"):
        made = draw(name, lambda: style.nothing(style.new_axes(None), "低 高"), tmp_path)
        assert "低 高" in made.svg
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no font on this machine has 低 高" in said


def test_a_font_of_the_machine_fills_in_what_the_house_font_lacks(tmp_path, capsys):
    lacking = next((c for c in "低가अ🍎ก" if not fonts._undrawable(c) and fonts._lacking(c)), None)
    if lacking is None:
        pytest.skip("no font of this machine has a character that the house font lacks")
    assert fonts.names_on_axis([lacking], 9) == [lacking]
    made = draw("name", lambda: style.nothing(style.new_axes(None), lacking), tmp_path)
    assert fonts._fallbacks(frozenset(lacking))[0][0] in made.svg
    assert capsys.readouterr().err == ""


def fail(kind: str) -> Any:
    ax = style.new_axes(None)
    if kind == "while rendering":
        ax.plot([1, 2])
        ax.xaxis.set_major_formatter(lambda value, _: f"{1 / (value - value)}")
        return ax
    raise {"library": RuntimeError("a\nb\x1b"), "memory": MemoryError(), "numeric": FloatingPointError("overflow")}[
        kind
    ]


@pytest.mark.parametrize("kind", ["library", "memory", "numeric", "while rendering"])
def test_a_figure_that_fails_leaves_a_line_in_its_place_and_no_file_of_an_earlier_one(kind, tmp_path, capsys):
    folder = Folder(tmp_path)
    words = {"alt": "an example", "caption": "Example."}
    assert isinstance(folder.picture("x", lambda: style.nothing(style.new_axes(None), "fine"), **words), Picture)
    shown = folder.picture("x", lambda: fail(kind), **words)
    assert isinstance(shown, Text)
    assert shown.lines[0].startswith("This figure could not be drawn: ")
    assert [path.name for path in folder.figures.iterdir()] == ["x.txt"]
    said = capsys.readouterr().err
    assert said.startswith("note: the figure x could not be drawn: ")
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert not plt.get_fignums(), "what was opened is closed"
    assert isinstance(folder.picture("x", lambda: style.nothing(style.new_axes(None), "fine"), **words), Picture)
    assert sorted(path.name for path in folder.figures.iterdir()) == ["x.png", "x.svg"]


def test_a_panel_that_fails_leaves_the_other_panels(tmp_path):
    panels = [lambda ax: ax.plot([1, 2]), lambda ax: fail("library"), lambda ax: ax.set_xlabel("third")]
    shown = Folder(tmp_path).grid("x", panels, alt="an example", caption="Example.")
    assert isinstance(shown, Picture)
    assert "could not be drawn" in shown.svg
    assert "third" in shown.svg


def test_a_file_that_cannot_be_written_is_no_fault_of_the_figure(tmp_path):
    (tmp_path / "figures").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="figures"):
        draw("x", lambda: style.nothing(style.new_axes(None), "fine"), tmp_path / "figures")


def test_ticks_keep_the_digits_that_tell_them_apart(tmp_path):
    made = draw("days", lambda: overview.plot_target(found(COLUMNS["days"])), tmp_path)
    assert re.findall(r">(202401\d\d)<", made.svg)
    assert "1e7" not in made.svg
    made = draw("seconds", lambda: overview.plot_target(found(COLUMNS["seconds since 1970"])), tmp_path)
    assert len(set(re.findall(r">(170000\d{4})<", made.svg))) >= 2


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((20240101, 20240128), ["20240101", "20240128"]),
        ((1.7e9 + 0.25, 1.7e9 + 0.5), ["1700000000.25", "1700000000.5"]),
        ((0.15, 1.0812), ["0.15", "1.081"]),
        ((35123.75, 36000), ["35124", "36000"]),
        ((3e38, -3e38), ["3e+38", "-3e+38"]),
        ((1e-13, 2.5e-13), ["1e-13", "2.5e-13"]),
        ((math.nan, math.inf), ["nan", "inf"]),
        ((), []),
    ],
)
def test_numbers_of_one_scale_have_as_many_digits_as_tell_them_apart(values, shown):
    assert together(values) == shown
