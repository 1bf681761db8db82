"""What a final evaluation says of a table: errors by band, caps, places, sentences and the section of the page."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from analysis.datasets.columns import Rows, coordinate_columns, find_piles
from analysis.evaluation.files import write_figures, write_tables
from analysis.pages.final import final_section
from analysis.prose.conclusion import conclude
from analysis.prose.discussion import discuss
from analysis.prose.table_discussion import _outside, _unused, discuss_table
from analysis.scores.geography import describe_geography
from analysis.scores.metrics import evaluate
from analysis.scores.residuals import describe_residuals
from analysis.scores.tables import BaselineAnswers, _range, answer_baselines, describe_baselines
from analysis.studies.results import FinalResults
from analysis.wording import number, plain
from tests.columns import table
from tests.evaluated import EXPORT, make_run, make_study, measured, record
from trainables.data.dataset import Dataset, Split
from trainables.data.table import Column


def test_bands_are_fifths_of_the_training_targets_and_their_bias_is_predicted_minus_target():
    train_y = np.linspace(0, 10, 1_001)
    y = np.linspace(0, 10, 400)
    outputs = np.tile(0.5 * y + 2.5, (2, 1))  # pulls towards the middle
    bands = describe_residuals(y, outputs, train_y)["bands"]
    assert [band["low"] for band in bands] == pytest.approx([0, 2, 4, 6, 8])
    assert [band["high"] for band in bands] == pytest.approx([2, 4, 6, 8, 10])
    assert sum(band["rows"] for band in bands) == 400
    assert [band["bias"]["value"] for band in bands] == pytest.approx([2, 1, 0, -1, -2], abs=0.01)
    assert bands[0]["rmse"]["low"] < bands[0]["rmse"]["value"] < bands[0]["rmse"]["high"]


def test_nothing_is_said_of_training_targets_that_only_own_code_knows():
    y = np.minimum(np.random.default_rng(1).exponential(2, 500), 5.0)
    found = describe_residuals(y, (y - 1)[None], None)
    assert "cap" not in found
    assert "floor" not in found
    assert sum(band["rows"] for band in found["bands"]) == 500


def test_the_page_of_own_code_names_test_targets_also_for_a_record_that_took_them_for_training_targets(
    described, tmp_path
):
    own = replace(described, own=True, cap={"value": 5.0, "train_share": 0.01, "rows_there": 4})
    ours = replace(own, own=False)
    for found, said in ((ours, True), (own, False)):
        words = " ".join(s["text"] for s in discuss(found, make_study([0.5] * 9, run=make_run()), make_run()))
        assert ("of the training rows have the same" in words) == said
    y = np.random.default_rng(0).normal(2, 1, 400)
    write_figures(own, tmp_path / "final" / "figures", x=np.zeros((400, 3)), y=y, exported=y)
    own.write(tmp_path / "final")
    section = str(final_section(tmp_path))
    assert "each fifth of the test targets" in section
    assert "each fifth of the training targets" not in section


def test_a_cap_is_found_and_its_rows_are_scored_apart():
    train_y = np.minimum(np.random.default_rng(0).exponential(2, 2_000), 5.0)
    y = np.minimum(np.random.default_rng(1).exponential(2, 500), 5.0)
    found = describe_residuals(y, (y - (y == 5))[None], train_y)["cap"]
    assert found["value"] == 5
    assert found["train_share"] == pytest.approx((train_y == 5).mean())
    assert found["rows_there"] == (y == 5).sum()
    assert found["rmse_there"]["value"] == 1
    assert found["rmse_elsewhere"]["value"] == 0


def test_whole_numbers_and_smooth_targets_have_neither_cap_nor_floor():
    random = np.random.default_rng(0)
    assert find_piles(random.normal(size=500)) == {}
    assert find_piles(np.repeat(np.arange(30.0), [2] * 15 + [9] + [2] * 14)) == {}
    assert find_piles(np.repeat([0.0, 1.0], 50)) == {}
    assert list(find_piles(np.maximum(random.normal(size=500), 0))) == ["floor"]


def test_a_longitude_and_a_latitude_make_places_and_one_alone_does_not():
    def columns(*names: str) -> list[Column]:
        return [Column(name=name, kind="number") for name in names]

    assert coordinate_columns(columns("Latitude", "x", "Longitude")) == ["Longitude", "Latitude"]
    assert coordinate_columns(columns("lat", "lng")) == ["lng", "lat"]
    assert coordinate_columns(columns("lat", "plate")) == []


@pytest.fixture(scope="module")
def map_of_regions() -> Dataset:
    """Every tenth of a degree of longitude has a value of its own: neighbours tell it, other regions do not."""
    random = np.random.default_rng(0)
    x = np.stack([random.uniform(0, 4, 900), random.uniform(-0.1, 0.1, 900)], axis=1).astype(np.float32)
    y = random.normal(size=41)[(10 * x[:, 0]).astype(int)] + 0.1 * random.normal(size=900)
    dataset = table()
    columns = (Column(name="lon", kind="number"), Column(name="lat", kind="number"))
    train = Split(x=torch.from_numpy(x), y=torch.from_numpy(y.astype(np.float32)))
    return Dataset(**{**vars(dataset), "columns": columns, "train": train})


def test_regions_held_out_are_harder_than_random_rows_where_place_decides(map_of_regions):
    test = Split(x=map_of_regions.train.x[:200] + 0.01, y=map_of_regions.train.y[:200])
    predicted = test.y.numpy() + np.sin(3 * test.x[:, 0].numpy())  # errors that neighbours share
    found = describe_geography(map_of_regions, test, predicted)["geography"]
    assert found["nearest_km"] == pytest.approx(0.01 * np.sqrt(2) * 111.2, rel=0.3)  # or nearer another row
    assert found["neighbour_correlation"] > 0.9
    assert found["held_out"]["difference"]["low"] > 0
    assert found["held_out"]["random"]["value"] < 0.5 * found["held_out"]["regions"]["value"]


@pytest.mark.parametrize("rows", [2, 40])  # fewer and more than the neighbours that are asked for
def test_a_row_is_not_its_own_neighbour_where_several_rows_have_one_place(map_of_regions, rows):
    random = np.random.default_rng(0)
    x = torch.from_numpy(np.repeat(random.uniform(0, 4, size=(800 // rows, 2)), rows, axis=0).astype(np.float32))
    test = Split(x=x, y=torch.zeros(len(x)))
    found = describe_geography(map_of_regions, test, random.normal(size=len(x)))["geography"]  # unrelated errors
    assert abs(found["neighbour_correlation"]) < 3 / np.sqrt(len(x))


def test_a_table_without_places_has_no_geography():
    dataset = table()
    assert describe_geography(dataset, dataset.train, dataset.train.y.numpy()) == {}


# The whole record


def answers(dataset: Dataset, outputs: dict[str, np.ndarray], test: Split) -> list[BaselineAnswers]:
    from analysis.scores.baselines import Baseline, Method

    return [
        BaselineAnswers(
            baseline=Baseline(
                method=Method(name=name, title=name.replace("_", " "), settings="as they are", random=False),
                models=[],
                seeds=(1,),
                num_classes=0,
                fit_seconds=0.5,
            ),
            outputs=found[None],
            rows_per_second=1_000.0,
        )
        for name, found in outputs.items()
    ]


@pytest.fixture(scope="module")
def described() -> FinalResults:
    """A regression in which boosting is better than the winner, and ridge is worse."""
    random = np.random.default_rng(0)
    y = random.normal(2, 1, 400).astype(np.float32)
    good = y + random.normal(0, 0.3, (5, 400))
    rows = [measured("trial-3", good), measured("baseline", y + random.normal(0, 0.6, (5, 400)))]
    others = {"gradient_boosting": y + random.normal(0, 0.2, 400), "ridge": y + random.normal(0, 0.5, 400)}
    others["mean"] = np.full(400, 2.0)
    baselines = answers(table(), others, Split(x=torch.zeros(400, 3), y=torch.from_numpy(y)))
    found = evaluate(y, {"trial-3": good} | {a.name: a.outputs for a in baselines}, task="regression")
    fields: dict[str, Any] = {"image_shape": [3], "direction": "minimize"}
    fields["baselines"] = describe_baselines(baselines, found, winner="trial-3", metric="rmse")
    fields |= {"target": "worth", "target_unit": "$100k", "target_median": 2.0, "places": [], "range": {"outside": 3}}
    fields["columns"] = [{"name": "a<b>", "kind": "number", "categories": [], "missing": 0.02}]
    fields["importance_metric"] = "rmse"
    fields["importance"] = [
        {"features": ["a<b>"], "value": 0.5, "low": 0.4, "high": 0.6},
        {"features": ["idle"], "value": 0.01, "low": -0.01, "high": 0.02},
    ]
    curve = {"mean": [1.0, 2.0], "low": [0.9, 1.8], "high": [1.1, 2.2]}
    fields["dependence"] = [
        {"feature": "a<b>", "kind": "number", "x": [0.0, 1.0], "rug": [0.1, 0.5], "curves": {"": curve}}
    ]
    fields["references"] = [
        {"model": name, "value": value, "source": "paper", "disputed": False, "note": "", "extra_data": False}
        | {"weights": "not stated", "epochs": "not stated", "augmentation": "not stated", "hardware": "not stated"}
        for name, value in (("old MLP", 0.4), ("CatBoost", 0.2))
    ]
    return record(y, rows, classes=(), metric="rmse", **fields)


def test_baselines_are_compared_with_the_winner_on_the_same_rows(described):
    by_name = {b.name: b for b in described.baselines}
    assert by_name["gradient_boosting"].difference["low"] > 0  # the winner's RMSE is larger
    assert by_name["ridge"].difference["high"] < 0
    assert by_name["mean"].scores["r2"]["value"] == pytest.approx(0, abs=0.02)


def test_a_winner_that_is_no_better_than_a_constant_is_said_to_have_learned_nothing(described):
    assert "learned" not in "".join(t for _, t in discuss_table(described, described.entrants[0]))
    near = {"value": 0.01, "low": -0.02, "high": 0.04}
    constant = replace(next(b for b in described.baselines if b.name == "mean"), difference=near)
    text = "".join(t for _, t in discuss_table(replace(described, baselines=[constant]), described.entrants[0]))
    assert "not clearly better than always predicting the mean, which reaches" in text
    assert "no sign that it learned anything from the columns" in text


def test_sentences_say_which_method_is_better_and_where_published_results_stand(described):
    text = "\n".join(t for _, t in discuss_table(described, described.entrants[0]))
    assert re.search(r"gradient boosting \(not tuned\) reaches 0\.[12].*the network is worse", text)
    assert re.search(r"ridge \(not tuned\) reaches 0\.[45].*the network is better", text)
    assert "Of 2 published results (RMSE ($100k)" in text
    assert (
        "is better than 1 (old MLP 0.4), 1 of them outside its interval. Better than the winner: CatBoost 0.2" in text
    )
    assert "if only the score matters, gradient boosting is the better choice" in text
    assert "clearly above zero: 1 of 2 (idle)" in text
    assert "3 of 400 test rows" in text
    assert "mean" not in re.findall(r"On the same rows, (\w+)", text)  # a constant is no rival


def test_other_methods_are_compared_by_the_metric_of_the_search_which_is_named(described, tmp_path):
    replace(described, metric="bias", few_seeds=True, export=EXPORT).write(tmp_path)
    (tmp_path / "final").mkdir()
    (tmp_path / "final.json").rename(tmp_path / "final" / "final.json")
    words = re.sub(r"<[^>]*>", " ", str(final_section(tmp_path)).split("<h3>Other methods</h3>")[1])
    assert re.match(r"\s*method\s+mean error \(bias\) \(\$100k\)\s+RMSE", words)
    assert "winner minus method, mean error (bias) ($100k)" in words


def test_few_seeds_are_said_with_the_way_out(described):
    few = replace(described, few_seeds=True)
    said = [one["text"] for one in discuss(few, make_study([0.5] * 9, run=make_run()), make_run())]
    seeds = len(described.entrants[0].by_seed["rmse"])
    because = f"wide mainly because there are only {seeds} seed{'s' if seeds > 1 else ''}"
    assert f"These intervals are {because}; --seeds 5 would narrow them." in said


def test_every_part_of_the_record_is_on_the_page_in_the_figures_and_in_the_tables(described, tmp_path):
    random = np.random.default_rng(0)
    y = random.normal(2, 1, 400).astype(np.float32)
    discussion = discuss(described, make_study([0.5] * 9, run=make_run()), make_run())
    described = replace(described, discussion=discussion, export=EXPORT)
    final_dir = tmp_path / "final"
    write_figures(described, final_dir / "figures", x=np.zeros((400, 3)), y=y, exported=y + 0.1)
    write_tables(described, final_dir / "tables", y=y, exported=y + 0.1)
    described.write(final_dir)
    drawn = {path.stem for path in (final_dir / "figures").glob("*.png")}
    assert drawn == {"contenders", "references", "baselines", "residuals", "bands", "importance", "dependence"}
    tables = {path.stem for path in (final_dir / "tables").glob("*.csv")}
    assert tables == {"contenders", "predictions", "baselines", "bands", "importance", "dependence"}
    section = str(final_section(tmp_path))
    for heading in (
        "Other methods",
        "Errors",
        "What the predictions depend on",
        "What it means in practice",
        "State of the art",
    ):
        assert f"<h3>{heading}</h3>" in section
    assert "RMSE ($100k)" in section
    assert "a<b>" not in section
    words = re.sub(r"<[^>]*>", " ", section)
    assert not re.search(r"accura|image|class|pixel|augment", words, re.IGNORECASE)


def test_a_column_that_is_beyond_its_training_range_is_not_said_to_be_dispensable(described):
    winner = described.entrants[0]
    assert "(idle)" in " ".join(_unused(described, winner))
    rows = described.conditions["test_rows"]
    later = replace(described, range={"outside": rows, "beyond": {"idle": 0.97}, "places": {}})
    assert list(_unused(later, winner)) == []
    assert "idle is outside the range of the training rows in 97 % of the test rows" in " ".join(
        _outside(later, winner)
    )


def test_the_range_names_columns_whose_test_rows_are_mostly_outside():
    columns = tuple(Column(name=name, kind="number") for name in ("date", "size", "gaps"))
    train = np.array([[1, 0, np.nan], [2, 1, 0], [3, 2, 1]], dtype=np.float32)
    test = np.array([[3, 5, np.nan], [4, 1, np.nan], [5, 1, 0.5], [6, 1, np.nan]], dtype=np.float32)
    rows = [Rows(x=x, y=np.zeros(len(x)), columns=columns, task="regression") for x in (train, test)]
    assert _range(rows[0], rows[1]) == {"outside": 4, "beyond": {"date": 0.75}, "places": {}}


def test_the_console_shows_baselines_with_the_difference_to_the_winner(described, tmp_path, capsys):
    conclude(described, run_dir=tmp_path)
    said = capsys.readouterr().out
    assert re.search(
        r"other methods\s+test RMSE \(\$100k\)\s+winner minus method, RMSE \(\$100k\) \(lower is better\)", said
    )
    assert re.search(r"gradient boosting\s+0\.[12]\d+ \[.*\]\s+\+0\.\d+ \[\+", said)


def test_fitted_baselines_answer_the_test_rows_themselves():
    from analysis.scores.baselines import fit_baselines

    dataset = table(200)
    found = answer_baselines(fit_baselines(dataset, seeds=[1, 2]), dataset.train)
    assert [a.outputs.shape for a in found] == [(1, 200), (1, 200), (2, 200), (1, 200)]
    assert all(a.rows_per_second > 0 for a in found)


@pytest.mark.parametrize(
    ("value", "digits", "sign", "said"),
    [
        (2412.3, 3, "", "2,412"),
        (1117, 4, "", "1,117"),
        (-152.4, 3, "+", "-152"),
        (3735.6, 3, "+", "+3,736"),
        (0.23456, 3, "", "0.235"),
    ],
)
def test_large_numbers_are_written_without_exponents(value: float, digits: int, sign: str, said: str):
    assert plain(value, digits=digits, sign=sign) == said
    assert number("rmse", 2412.3) == "2,412"
