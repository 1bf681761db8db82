"""The final evaluation for real: on digits, killed and continued, with test images that nobody may read too early."""

import hashlib
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from PIL import Image
from sklearn.datasets import load_digits

from analysis import final
from analysis.evaluation.contenders import (
    Contender,
    choose,
    fresh_seeds,
    make_plan,
    planned_contenders,
    rank,
    settle_plan,
)
from analysis.model.load import load_model
from analysis.pages.final import final_section
from analysis.pages.summary import best_table
from analysis.prose.discussion import discuss
from analysis.studies.criterion import window
from analysis.studies.openings import OpeningsError, check_opening, read_openings, record_opening
from analysis.studies.results import FinalResults
from analysis.studies.trials import read_trials
from search.process.signals import signals_restored
from search.storage.study import open_study
from tests.evaluated import SPACE, make_run, make_study
from tests.pictures import undecodable_png
from tests.searching import ROOT, search, trials_of
from tests.stored import stored_search
from trainables.sources.load import load

# Which configurations


def test_one_lucky_epoch_does_not_decide():
    run = make_run()
    steady, lucky = [0.5] * 7 + [0.93, 0.93], [0.5] * 7 + [0.80, 0.95]
    assert [c.name for c in rank(make_study([0.1] * 9, lucky, steady, run=run), run)] == [
        "trial-2",
        "trial-1",
        "baseline",
    ]


def test_the_least_is_best_when_the_search_minimises():
    run = make_run(direction="minimize", metric="loss")
    study = make_study([0.5] * 9, [0.2] * 9, run=run)
    assert [c.name for c in rank(study, run)] == ["trial-1", "baseline"]


def test_trials_that_were_stopped_early_are_no_contenders():
    run = make_run()
    assert [c.name for c in rank(make_study([0.5] * 9, [0.99] * 3, run=run), run)] == ["baseline"]


@pytest.mark.parametrize(("epochs", "last"), [(1, 1), (2, 2), (9, 2), (27, 5), (100, 20)])
def test_the_criterion_takes_the_last_fifth_of_the_epochs_and_at_least_two(epochs, last):
    assert window(epochs) == last


def test_baseline_and_random_are_always_contenders_and_the_random_one_is_always_the_same():
    run, dataset = make_run(), load("digits", "data", validation_fraction=0.0)
    study = make_study([0.1] * 9, [0.5] * 9, [0.6] * 9, [0.7] * 9, run=run)
    chosen = choose(study, run, SPACE, dataset, top=2)
    assert [c.name for c in chosen] == ["trial-3", "trial-2", "baseline", "random"]
    assert [c.role for c in chosen] == ["top", "top", "baseline", "random"]
    assert chosen[-1].params == choose(study, run, SPACE, dataset, top=1)[-1].params
    SPACE.decode(chosen[-1].params)


def test_a_run_without_a_baseline_is_evaluated_without_one():
    run = make_run()
    study = make_study([0.5] * 9, [0.6] * 9, run=run)
    run = replace(run, baseline={})
    chosen = choose(study, run, SPACE, load("digits", "data", train_size=200), top=1)
    assert [c.name for c in chosen] == ["trial-1", "random"]
    assert read_trials(study, run).baseline == {}
    assert list(best_table(read_trials(study, run)).columns) == ["hyperparameter", "best"]


def test_a_run_without_a_finished_trial_cannot_be_evaluated():
    run, dataset = make_run(), load("digits", "data", validation_fraction=0.0)
    with pytest.raises(ValueError, match="has no trial that was trained for its full 9 epochs"):
        choose(make_study([0.5] * 3, run=run), run, SPACE, dataset, top=1)


def test_fresh_seeds_are_none_of_the_search():
    run = make_run()
    study = make_study([0.5] * 9, run=run)
    first = fresh_seeds(study, run, count=3)
    study.trials[0].user_attrs["seed"] = first[0]
    used = optuna.create_study()
    used.add_trial(create_trial(value=1.0, user_attrs={"seed": first[1]}))
    assert len(set(first)) == 3
    assert first[1] not in fresh_seeds(used, run, count=3)


def test_more_seeds_and_more_contenders_extend_a_plan_without_training_anything_twice():
    contenders = [Contender(name=name, params={"a": name}) for name in ("trial-7", "baseline")]
    plan = make_plan(contenders, [11, 12], stored=())
    assert [p.tag for p in plan] == ["trial-7/0", "baseline/0", "trial-7/1", "baseline/1"]
    more = [*contenders, Contender(name="trial-9", params={})]
    longer = make_plan(more, [11, 12, 13], stored=plan)
    assert longer[: len(plan)] == plan
    assert [p.tag for p in longer[4:]] == ["trial-9/0", "trial-9/1", "trial-7/2", "baseline/2", "trial-9/2"]
    assert {c.name for c in planned_contenders(longer, contenders, [])} == {"trial-7", "baseline", "trial-9"}


def test_a_call_without_numbers_continues_the_plan_of_the_earlier_one():
    run, dataset = make_run(), load("digits", "data", validation_fraction=0.0)
    study = make_study([0.1] * 9, [0.5] * 9, [0.6] * 9, run=run)
    _, plan, _ = settle_plan(study, run, SPACE, dataset, top=1, seeds=2, stored=())
    contenders, again, seeds = settle_plan(study, run, SPACE, dataset, top=None, seeds=None, stored=plan)
    assert again == plan
    assert seeds == 2
    assert [c.name for c in contenders] == ["trial-2", "baseline", "random"]
    assert contenders[0].search_value == 0.6


# Openings


def test_a_second_opening_is_refused_and_counted_when_it_is_insisted_on(tmp_path: Path):
    assert check_opening(tmp_path, again=False) == "first evaluation"
    record_opening(tmp_path, command="c", why="first evaluation", checksum="ab")
    with pytest.raises(ValueError, match=r"ended without results; add --again"):
        check_opening(tmp_path, again=False)
    assert check_opening(tmp_path, again=True) == "--again, after an evaluation that ended without results"
    (tmp_path / "final.json").write_text("{}")
    with pytest.raises(ValueError, match=r"opened once already.*add --again"):
        check_opening(tmp_path, again=False)
    assert check_opening(tmp_path, again=True) == "--again"


def test_a_damaged_line_still_counts_as_an_opening(tmp_path: Path):
    (tmp_path / "openings.jsonl").write_text('{"when": "2026')
    assert len(read_openings(tmp_path)) == 1
    with pytest.raises(ValueError, match="add --again"):
        check_opening(tmp_path, again=False)


@pytest.mark.parametrize("spoil", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)])
def test_a_log_of_openings_that_cannot_be_read_is_named_and_never_taken_for_none(spoil, tmp_path: Path):
    spoil(tmp_path / "openings.jsonl")
    with pytest.raises(OpeningsError, match=r"openings\.jsonl cannot be read \(.+\); it counts how often"):
        check_opening(tmp_path, again=True)


def test_of_a_damaged_run_the_damage_is_said_before_the_earlier_opening(tmp_path: Path, capsys):
    run_dir = stored_search(tmp_path, "--name", "x", "--max-epochs", "1", "--trials", "1")
    (run_dir / "final").mkdir()
    record_opening(run_dir / "final", command="final x", why="first evaluation", checksum="-")
    with signals_restored():
        assert final.main([str(run_dir)]) == 2
    assert "add --again" in capsys.readouterr().err
    (run_dir / "study.db").write_text("no database")
    with signals_restored():
        assert final.main([str(run_dir)]) == 2
    assert "study.db is damaged" in capsys.readouterr().err


# End to end

SMALL = ("--max-epochs", "2", "--pruner", "none", "--trials", "3")


def evaluate(run_dir: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "analysis.final", str(run_dir), *words]
    settings: dict[str, Any] = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 600}
    return subprocess.run(command, check=False, env={**os.environ, **environment}, **settings)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A small search on digits and its final evaluation: the best, the baseline and a random one on two seeds."""
    runs = tmp_path_factory.mktemp("final")
    found = search(runs, "--name", "small", *SMALL)
    assert found.returncode in (0, 3), found.stderr
    return runs / "small", evaluate(runs / "small", "--top", "1", "--seeds", "2", "--tta")


@pytest.fixture(scope="module")
def results(evaluated) -> dict[str, Any]:
    return json.loads((evaluated[0] / "final" / "final.json").read_text())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_digits_run_is_evaluated_end_to_end(evaluated, results):
    run_dir, done = evaluated
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert re.search(r"page: .*\.html", done.stdout)
    assert "python -m analysis.predict" in done.stdout
    assert results["entrants"][0]["name"] == results["winner"]
    assert {e["role"] for e in results["entrants"]} >= {"baseline", "random", "augmented"}
    assert all(len(e["seeds"]) == 2 for e in results["entrants"])
    assert results["conditions"]["train_rows"] == 1438
    for name in ("contenders", "classes", "confusion", "calibration", "mistakes"):
        assert (run_dir / "final" / "figures" / f"{name}.png").stat().st_size > 1000
        assert (run_dir / "final" / "figures" / f"{name}.svg").stat().st_size > 1000


@pytest.mark.slow
def test_fresh_networks_train_on_seeds_of_their_own_with_the_validation_rows(evaluated):
    run_dir, _ = evaluated
    fresh = trials_of(run_dir / "final" / "training")
    assert not {t.user_attrs["seed"] for t in fresh} & {t.user_attrs["seed"] for t in trials_of(run_dir)}
    assert all("accuracy" not in record for t in fresh for record in t.user_attrs["history"])
    names = [t.user_attrs["tag"].split("/") for t in fresh]
    assert [index for _, index in names] == sorted(index for _, index in names)  # seed by seed


@pytest.mark.slow
def test_tables_of_the_evaluation_add_up(evaluated, results):
    winner = results["entrants"][0]
    counts = np.array(winner["confusion"])
    assert counts.sum() == 2 * results["conditions"]["test_rows"] == 2 * sum(results["support"].values())
    assert counts.trace() / counts.sum() == pytest.approx(winner["scores"]["accuracy"]["value"])
    np.testing.assert_array_equal(counts.sum(1), 2 * np.array(list(results["support"].values())))
    for index, scores in enumerate(winner["classes"].values()):
        assert scores["recall"]["value"] == pytest.approx(counts[index, index] / counts[index].sum())
    total = sum(e["probability_best"] for e in results["entrants"] if e["probability_best"] is not None)
    assert total == pytest.approx(1)
    for entrant in results["entrants"]:
        for found in entrant["scores"].values():
            assert found["low"] <= found["value"] <= found["high"]


@pytest.mark.slow
def test_the_exported_model_reproduces_its_test_accuracy_to_the_last_image(evaluated, results):
    from trainables.sources.load import load_test

    test = load_test("digits", "data")
    found = load_model(evaluated[0]).predict(test.x).argmax(1) == test.y.numpy()
    assert found.mean() == results["entrants"][0]["by_seed"]["accuracy"][0]
    assert results["export"]["seed"] == results["entrants"][0]["seeds"][0]
    assert results["export"]["verified"]["agreeing"] == len(test)


@pytest.mark.slow
def test_the_section_and_the_page_show_every_contender_and_escape_what_is_not_ours(evaluated, results, tmp_path):
    section = final_section(evaluated[0])
    assert section is not None
    for heading in (
        "How good is it?",
        "Where it fails",
        "Configurations compared",
        "Classes",
        "Calibration",
        "The exported network",
    ):
        assert f"<h3>{heading}</h3>" in section
    assert section.count("<svg ") == 5
    page = evaluated[0] / "report" / "index.html"
    assert f"page: {page}" in evaluated[1].stdout
    assert '<h2 id="final">Final evaluation</h2>' in page.read_text()
    results = json.loads(json.dumps(results))
    results["failures"] = [{"contender": "random", "seed": 1, "cause": "<script>alert(1)</script>"}]
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "final.json").write_text(json.dumps(results))
    assert "<script>" not in str(final_section(tmp_path))


def test_there_is_no_section_without_an_evaluation_and_a_damaged_one_says_so(tmp_path):
    assert final_section(tmp_path) is None
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "final.json").write_text("{")
    assert "damaged" in str(final_section(tmp_path))
    (tmp_path / "final" / "final.json").unlink()
    record_opening(tmp_path / "final", command="c", why="first evaluation", checksum="")
    assert "ended without results" in str(final_section(tmp_path))


@pytest.mark.slow
def test_no_sentence_of_the_discussion_lacks_a_number(evaluated, results):
    from search.storage.run import read_run

    said = discuss(FinalResults.of(results), open_study(evaluated[0]), read_run(evaluated[0]))
    assert {s["topic"] for s in said} >= {"verdict", "weakness", "limit"}
    assert all(re.search(r"\d", s["text"]) for s in said)
    assert said == results["discussion"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_second_opening_is_insisted_on_and_counted_trains_nothing_and_refuses_a_malicious_checkpoint(
    evaluated, tmp_path
):
    run_dir = tmp_path / "moved"  # a copy at a new place works as well
    shutil.copytree(evaluated[0], run_dir)
    before = [t.user_attrs["history"] for t in trials_of(run_dir / "final" / "training")]
    refused = evaluate(run_dir)
    assert refused.returncode == 2
    assert "--again" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    plant(run_dir / "final" / "training" / "checkpoints" / "trial-00001", touches=tmp_path / "touched")
    again = evaluate(run_dir, "--again")
    assert again.returncode == 3, again.stderr
    assert "opened 2 times" in again.stdout
    found = json.loads((run_dir / "final" / "final.json").read_text())
    assert found["openings"] == 2
    assert "has been opened 2 times" in str(final_section(run_dir))
    assert [t.user_attrs["history"] for t in trials_of(run_dir / "final" / "training")] == before
    assert "refused" in again.stdout
    assert not (tmp_path / "touched").exists()
    assert len(found["failures"]) == 1


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self._path,))


def plant(folder: Path, *, touches: Path) -> None:
    """A checkpoint with a checksum that is right, in place of those of a trial."""
    data = pickle.dumps(Touch(touches))
    newest = folder / "epoch-0002"
    (newest / "state.pt").write_bytes(data)
    manifest = {"epoch": 2, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (newest / "manifest.json").write_text(json.dumps(manifest))
    shutil.rmtree(folder / "epoch-0001", ignore_errors=True)


# Killed, and with test images that nobody may read before the end

AUDIT = """
import os, sys, time
def note(event, args):
    if event == "open" and isinstance(args[0], str) and args[0].startswith({test!r}):
        descriptor = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{{time.time()}} {{os.getpid()}}\\n".encode())
        os.close(descriptor)
sys.addaudithook(note)
"""


def write_images(folder: Path, rows: range) -> None:
    """Digits 0 to 2 as a folder of images."""
    images, labels = load_digits(n_class=3, return_X_y=True)
    for row in rows:
        path = folder / str(labels[row]) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((images[row].reshape(8, 8) * 15.9).astype(np.uint8)).save(path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_evaluation_continues_and_the_test_images_are_untouched_until_all_training_has_ended(tmp_path):
    """The test images cannot be decoded: whoever reads one early fails. An audit hook in every process notes it."""
    data, hooks, log = tmp_path / "data", tmp_path / "hooks", tmp_path / "opened.log"
    write_images(data / "train", range(120))
    for name in "012":
        (data / "test" / name).mkdir(parents=True)
        (data / "test" / name / "broken.png").write_bytes(undecodable_png())
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(AUDIT.format(test=str(data / "test"), log=str(log)))
    watched = {"PYTHONPATH": str(hooks)}
    words = ("--space", "image_folder_arch", "--data-dir", str(data), "--name", "own", *SMALL[:4], "--trials", "1")
    stored_search(tmp_path, *words)  # which reads the images that a search reads
    training = tmp_path / "own" / "final" / "training"

    killed_histories = _kill_when_begun(tmp_path / "own", training, watched)
    done = evaluate(tmp_path / "own", **watched)  # the numbers are those of the killed call
    assert done.returncode == 2
    assert "cannot be read" in done.stderr
    trials = trials_of(training)
    assert len(trials) == 6
    assert sum(len(t.user_attrs["history"]) for t in trials) == 6 * 3
    for number, history in killed_histories.items():
        assert trials[number].user_attrs["history"][: len(history)] == history

    ended = max(t.datetime_complete.astimezone(UTC).timestamp() for t in trials if t.datetime_complete)
    reads = [float(line.split()[0]) for line in log.read_text().splitlines()]
    assert reads, "the hook works: the evaluation itself did read them"
    assert ended <= min(reads)
    assert list(read_openings(tmp_path / "own" / "final")) == [], "what cannot be read was not opened"

    shutil.rmtree(data / "test")
    write_images(data / "test", range(120, 200))
    assert evaluate(tmp_path / "own").returncode == 0
    assert len(trials_of(training)) == 6
    (opening,) = read_openings(tmp_path / "own" / "final")
    assert ended <= datetime.fromisoformat(opening["when"]).timestamp()


def _kill_when_begun(run_dir: Path, training: Path, environment: dict[str, str]) -> dict[int, list[dict[str, Any]]]:
    """Begin an evaluation that is killed by `kill -9` at its seventh epoch of eighteen; what is stored then."""
    died = subprocess.run(
        [sys.executable, "-m", "analysis.final", str(run_dir), "--top", "1", "--seeds", "3", "--epochs", "3"],
        cwd=ROOT,
        env={**os.environ, **environment, "RUNGWISE_FAULT": "reported:7"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=600,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    stored = {t.number: t.user_attrs.get("history", []) for t in trials_of(training)}
    assert 0 < sum(map(len, stored.values())) < 6 * 3, "it was killed in the middle"
    return stored


@pytest.mark.slow
def test_ctrl_c_prints_the_command_that_continues(tmp_path):
    run_dir = stored_search(tmp_path, "--name", "small", *SMALL)
    command = [sys.executable, "-m", "analysis.final", str(run_dir), "--top", "1", "--seeds", "2", "--epochs", "200"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "the test set stays sealed" in line:
            break
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=280)
    assert process.returncode == 130, said
    assert f"python -m analysis.final {run_dir} --top 1 --seeds 2 --epochs 200" in said
    assert "Traceback" not in said
    assert read_openings(run_dir / "final") == []


@pytest.mark.data
@pytest.mark.slow
def test_fashion_mnists_test_files_are_untouched_before_all_training_has_ended(tmp_path, data_dir):
    """With test files of other contents every read of them fails by checksum: training must not notice."""
    raw = tmp_path / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (data_dir / "FashionMNIST" / "raw").glob("train-*"):
        (raw / path.name).symlink_to(path)
    for name, size in (("t10k-images-idx3-ubyte", 7_840_016), ("t10k-labels-idx1-ubyte", 10_008)):
        (raw / name).write_bytes(bytes(size))  # the right size, which is looked at before
    words = ("--space", "fashion_arch", "--data-dir", str(tmp_path / "data"), "--train-size", "300", "--name", "f")
    stored_search(tmp_path, *words, "--max-epochs", "1", "--pruner", "none", "--trials", "1")
    done = evaluate(tmp_path / "f", "--top", "1", "--seeds", "1")
    assert done.returncode == 2
    assert "t10k" in done.stderr
    assert {t.state for t in trials_of(tmp_path / "f" / "final" / "training")} == {TrialState.COMPLETE}


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom_and_is_kept_without_outputs(evaluated, tmp_path):
    path = ROOT / "analysis" / "notebooks" / "03_final_evaluation.ipynb"
    stored = json.loads(path.read_text())
    assert all(not cell.get("outputs") for cell in stored["cells"])
    run = 'RUN = "../../results/fashion"'
    assert run in path.read_text().replace('\\"', '"')
    program = """
import sys, nbformat, nbclient
book = nbformat.read(sys.argv[1], as_version=4)
for cell in book.cells:
    cell.source = cell.source.replace("../../results/fashion", sys.argv[2])
nbclient.NotebookClient(book, timeout=290, resources={"metadata": {"path": sys.argv[3]}}).execute()
"""
    command = [sys.executable, "-c", program, str(path), str(evaluated[0]), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=290)
    assert done.returncode == 0, done.stderr[-2000:]
