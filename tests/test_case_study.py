"""The case study and its notebook, from a run folder with a housing table of the right size and made-up numbers."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import spaces.space
from analysis import case_study, publish, report
from analysis.docs import read_study
from analysis.evaluation.files import write_figures
from analysis.prose.discussion import discuss
from analysis.scores.baselines import Method
from analysis.scores.metrics import evaluate
from analysis.scores.tables import BaselineAnswers, describe_baselines, describe_table
from analysis.studies.results import FinalResults
from search.storage.run import Run, read_run, write_run
from search.storage.study import open_study
from spaces.space import Space
from tests.evaluated import EXPORT, measured, record
from tests.searching import ROOT
from tests.stored import store
from tests.synthetic import make_run, make_study
from trainables.data.dataset import Dataset, Split
from trainables.sources.load import load
from trainables.training.training import Training

SPACE = spaces.space.load("housing_mlp")
NOTEBOOK = ROOT / "analysis" / "notebooks" / "04_case_study.ipynb"
RAW = (
    "longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms", "population", "households",
    "median_income", "median_house_value",
)  # fmt: skip


def write_districts(path: Path) -> None:
    """As many districts as the real file has, with values that follow from income and place, and a cap."""
    random = np.random.default_rng(0)
    count = 20_640
    columns = {"longitude": random.uniform(-124, -115, count), "latitude": random.uniform(32, 42, count)}
    columns |= {name: random.integers(100, 900, count).astype(float) for name in RAW[2:7]}
    columns["median_income"] = random.uniform(0.5, 15, count)
    value = 30_000 * columns["median_income"] + 5_000 * (columns["latitude"] - 32) + random.normal(0, 9_000, count)
    columns["median_house_value"] = np.minimum(value, 450_000)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(RAW)
        writer.writerows(zip(*(columns[name] for name in RAW), strict=True))


def final_results(dataset: Dataset, test: Split, *, space: Space = SPACE) -> tuple[FinalResults, np.ndarray]:
    """A record of made-up networks and baselines, and what the first network says."""
    random, y = np.random.default_rng(1), test.y.numpy()
    outputs = {name: y + random.normal(0, noise, (3, len(y))) for name, noise in (("trial-3", 0.3), ("baseline", 0.5))}
    rows = [measured(name, found) for name, found in outputs.items()]
    fields: dict[str, Any] = {"image_shape": list(dataset.image_shape), "direction": "minimize"}
    fields |= {
        "command": "python -m analysis.final /big/runs/synthetic",
        "created": "2026-01-05",
        "versions": {"a": "1"},
    }
    method = Method(name="gradient_boosting", title="gradient boosting", settings="", random=False)
    boosted = y + random.normal(0, 0.28, len(y))
    answers = [BaselineAnswers(baseline=fitted(method), outputs=boosted[None], rows_per_second=10.0)]
    found = evaluate(y, outputs | {"gradient_boosting": boosted[None]}, task="regression", num_replicates=300)
    fields["baselines"] = describe_baselines(answers, found, winner="trial-3", metric="rmse")
    trained = [Training(space.decode(space.baseline), dataset, epochs=1, seed=seed) for seed in (0, 1)]
    fields |= describe_table(dataset, test, trained, outputs["trial-3"], metric="rmse", seed=0)
    fields["references"] = [vars(reference) for reference in space.references]
    results = record(y, rows, classes=(), metric="rmse", **fields)
    entrants = [replace(entrant, params=dict(space.baseline)) for entrant in results.entrants]
    return replace(results, entrants=entrants, export=EXPORT), outputs["trial-3"][0]


def fitted(method: Method) -> Any:
    from analysis.scores.baselines import Baseline

    return Baseline(method=method, models=[], seeds=(1,), num_classes=0, fit_seconds=1.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("housing")
    write_districts(folder / "california_housing.csv")
    run_dir = store(make_study(12, seed=2, failures=1), folder / "synthetic")
    fields = {k: v for k, v in vars(make_run(dataset_checksum="")).items() if k != "rungs"}
    fields |= {"dataset": "california_housing", "space": "housing_mlp", "data_dir": str(folder), "metric": "rmse"}
    command = f"python -m search.run --data-dir {folder} --runs-dir {folder} --name synthetic"
    asked = Run(**fields | {"train_size": 800, "command": command})
    write_run(run_dir, asked)
    dataset = load("california_housing", folder, train_size=800, validation_fraction=0.2)
    results, exported = final_results(dataset, dataset.validation)
    results = replace(results, discussion=discuss(results, open_study(run_dir), asked))
    x, y = dataset.validation.x.numpy(), dataset.validation.y.numpy()
    write_figures(results, run_dir / "final" / "figures", x=x, y=y, exported=exported)
    results.write(run_dir / "final")
    assert report.main([str(run_dir)]) == 0
    return run_dir


def test_the_text_holds_the_numbers_of_the_run_and_no_folder_of_this_machine(run, tmp_path):
    out = tmp_path / "case-study.md"
    assert case_study.main([str(run), "--out", str(out)]) == 0
    text = out.read_text()
    results = json.loads((run / "final" / "final.json").read_text())
    score = results["entrants"][0]["scores"]["rmse"]
    assert f"**{score['value']:.4f} [{score['low']:.4f}, {score['high']:.4f}]**" in text
    assert all(r.model in text for r in SPACE.references)
    assert "python -m search.run --data-dir data --name synthetic" in text
    assert str(run.parent) not in text
    assert not re.search(r"\b(nan|Undefined)\b|\| None", text)
    pictures = re.findall(r"\]\(([^)]+\.png)\)", text)
    assert len(pictures) == 10
    assert all((tmp_path / name).stat().st_size > 1_000 for name in pictures)
    assert sum((tmp_path / name).stat().st_size for name in pictures) < 600_000


def test_the_page_of_a_regression_speaks_of_rows_and_errors(run):
    page = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", (run / "report" / "index.html").read_text(), flags=re.S)
    assert "validation RMSE ($100k)" in page
    assert "Missing" in page or "No value is missing" in page
    assert not re.search(
        r"accura|\bimage|\bclass(es)?\b|pixel|augment", page.split("Reproducibility")[0], re.IGNORECASE
    )


def test_a_run_on_other_data_is_refused_with_what_tells_the_same(tmp_path, capsys):
    other = store(make_study(3), tmp_path / "digits")
    assert case_study.main([str(other), "--out", str(tmp_path / "x.md")]) == 2
    assert "the case study is about california_housing, got a run on digits" in capsys.readouterr().err
    assert not (tmp_path / "x.md").exists()


def test_a_comparison_that_trained_on_validation_rows_is_refused(run, tmp_path, capsys):
    words = [str(run), "--out", str(tmp_path / "x.md"), "--same-rows", str(run)]
    assert case_study.main(words) == 2
    assert "must have been evaluated with --without-validation" in capsys.readouterr().err


def test_what_is_published_is_a_run_without_checkpoints_and_without_folders_of_this_machine(run, tmp_path, capsys):
    (run / "checkpoints" / "trial-00000").mkdir(parents=True, exist_ok=True)
    assert publish.main([str(run), "--to", str(tmp_path / "results")]) == 0
    assert re.fullmatch(r".*synthetic: \d\.\d MB\n", capsys.readouterr().out)
    kept = tmp_path / "results" / "synthetic"
    assert not (kept / "checkpoints").exists()
    assert [(t.params, t.value) for t in open_study(kept).trials] == [
        (t.params, t.value) for t in open_study(run).trials
    ]
    assert read_run(kept).command == "python -m search.run --data-dir data --name synthetic"
    assert read_run(kept).data_dir == "data"
    texts = [path for path in kept.rglob("*") if path.suffix in (".json", ".html", ".md", ".csv", ".jsonl")]
    assert len(texts) > 5
    assert not [path for path in texts if str(run.parent) in path.read_text()]
    assert read_study(kept)["effects"]


def test_another_run_by_the_same_name_is_not_overwritten(run, tmp_path, capsys):
    assert publish.main([str(run), "--to", str(tmp_path)]) == 0
    kept = tmp_path / "synthetic"
    write_run(kept, replace(read_run(kept), created="2020-01-01T00:00:00+00:00"))
    assert publish.main([str(run), "--to", str(tmp_path)]) == 2
    assert "contains something else" in capsys.readouterr().err
    assert read_run(kept).created.startswith("2020")


def test_a_run_is_published_under_another_name_and_without_the_folder_it_was_searched_in(run, tmp_path, capsys):
    run = Path(shutil.copytree(run, tmp_path / "moved" / run.name))
    write_run(run, replace(read_run(run), command="python -m search.run --runs-dir /big/runs --name synthetic"))
    (run / "final" / "README.md").write_text("python -m analysis.predict /big/runs/synthetic FILE")
    assert publish.main([str(run), "--to", str(tmp_path), "--name", "other"]) == 0
    assert read_run(tmp_path / "other").command == "python -m search.run --name other"
    told = (tmp_path / "other" / "final" / "README.md").read_text()
    assert told == f"python -m analysis.predict {tmp_path.name}/other FILE"
    assert len(open_study(tmp_path / "other").trials) == len(open_study(run).trials)
    assert publish.main([str(run), "--to", str(tmp_path), "--name", "a/b"]) == 2
    assert "--name must be" in capsys.readouterr().err


def test_a_run_without_a_report_is_not_published(tmp_path, capsys):
    bare = store(make_study(3), tmp_path / "bare")
    assert publish.main([str(bare), "--to", str(tmp_path / "results")]) == 2
    assert f"create it with: python -m analysis.report {bare}" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def cells(run: Path | None = None, *, data_dir: str | None = None) -> list[nbformat.NotebookNode]:
    """The notebook's cells of code, on this run."""
    found = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert found[0].source.startswith("RUN = ")
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in found)
    if run is not None:
        found[0].source = f"RUN = {str(run)!r}\nDATA_DIR = {data_dir!r}"
    return found


def in_process(run: Path, **settings: Any) -> dict[str, Any]:
    """The names that the notebook leaves."""
    names: dict[str, Any] = {}
    for cell in cells(run, **settings):
        exec(compile(cell.source, str(NOTEBOOK), "exec"), names)
    plt.close("all")
    return names


def test_the_notebook_runs_where_the_data_are_and_says_so_where_they_are_not(run, capsys):
    assert in_process(run)["data"].places == ["Longitude", "Latitude"]
    assert "No value is missing" in capsys.readouterr().out
    assert in_process(run, data_dir="nowhere")["data"] is None
    assert "The data set california_housing is not in the folder 'nowhere'" in capsys.readouterr().out


@pytest.fixture(scope="module")
def diabetes(tmp_path_factory) -> Path:
    """A run on a table that comes with scikit-learn, so that it is there on every machine."""
    run_dir = store(make_study(6, seed=2), tmp_path_factory.mktemp("diabetes") / "synthetic")
    write_run(run_dir, replace(read_run(run_dir), dataset="diabetes", space="diabetes_mlp", train_size=200))
    dataset = load("diabetes", "nowhere", train_size=200, validation_fraction=0.3)
    results, exported = final_results(dataset, dataset.validation, space=spaces.space.load("diabetes_mlp"))
    results = replace(results, discussion=discuss(results, open_study(run_dir), read_run(run_dir)))
    x, y = dataset.validation.x.numpy(), dataset.validation.y.numpy()
    write_figures(results, run_dir / "final" / "figures", x=x, y=y, exported=exported)
    results.write(run_dir / "final")
    return run_dir


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the kernel's own packages
def test_the_notebook_shows_a_table_that_needs_no_download_without_a_warning(diabetes, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel then shows figures in the notebook
    notebook = nbformat.v4.new_notebook(cells=cells(diabetes))
    done = NotebookClient(notebook, timeout=290, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [out for cell in done.cells for out in cell.get("outputs", [])]
    assert sum("image/png" in out.get("data", {}) for out in outputs) >= 6
    assert [out["text"] for out in outputs if out.get("name") == "stderr"] == []


def test_the_notebook_refuses_a_run_on_images_in_one_line(run, tmp_path):
    other = store(make_study(3), tmp_path / "digits")
    (other / "final").mkdir()
    results = json.loads((run / "final" / "final.json").read_text())
    (other / "final" / "final.json").write_text(json.dumps(results | {"image_shape": [1, 8, 8]}))
    with pytest.raises(ValueError, match=r"is a run on images \(digits\); a case study needs a run on a table"):
        case_study.gather(other)
