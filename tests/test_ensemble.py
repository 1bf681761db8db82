"""The ensemble of a final evaluation: selection, its value beside the winner's, export, `predict --ensemble`."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from PIL import Image

from analysis import predict
from analysis.evaluation import opened
from analysis.evaluation.greedy import evaluate_ensemble, pool_of_networks, select
from analysis.evaluation.networks import checksum
from analysis.evaluation.settings import Members
from analysis.model.ensemble import load_ensemble, mean_of
from analysis.model.load import load_model
from analysis.pages.final import final_section
from analysis.studies.openings import record_opening
from analysis.studies.results import FinalResults
from analysis.wording import joint
from search.scheduling.checkpoints import CheckpointKeeper
from search.storage.folder import trial_name
from spaces.objectives import Objective, metric_named
from tests.evaluated import measured
from tests.trained import Trained, keep_trials, trained_run
from trainables.sources.load import load_test


def evaluated(trained: Trained, members: Members = "networks") -> FinalResults:
    job = trained.job(ensemble=members)
    networks, failures = job.collect()
    assert not failures
    record_opening(job.final_dir, command=job.command, why=job.why, checksum=checksum(networks))
    test = load_test(job.run.dataset, job.run.data_dir, like=job.dataset)
    return opened.evaluate(job, test, networks, failures, [])


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, FinalResults]:
    """An evaluation with validation rows held out, on which members are selected."""
    trained = trained_run(tmp_path_factory.mktemp("selected"), seeds=2, held_out=True)
    return trained, evaluated(trained)


def test_members_that_err_in_opposite_ways_are_chosen_together() -> None:
    y = np.linspace(0, 1, 200)
    outputs = np.stack([y + 0.3, y - 0.1, y + 5])
    counts = select(outputs, y)
    assert counts == [1, 3, 0]
    np.testing.assert_allclose(mean_of(outputs, counts), y, atol=1e-9)


def test_a_network_that_none_improves_is_chosen_alone() -> None:
    y = np.arange(50.0)
    assert select(np.stack([y + 1, y, y - 3]), y) == [0, 1, 0]
    assert select(np.stack([y + 1]), y) == [1]


@pytest.mark.parametrize(("metric", "counts"), [("rmse", [1, 0]), ("pinball:0.9", [0, 1]), ("mae", [1, 0])])
def test_members_that_predict_a_quantile_are_chosen_by_its_loss(metric: str, counts: list[int]) -> None:
    y = np.linspace(0, 1, 1001)
    assert select(np.stack([np.full(1001, 0.5), np.full(1001, 0.9)]), y, metric=metric) == counts


def test_the_selected_mean_is_never_worse_than_the_best_network_on_its_rows() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        y = random.integers(0, 3, 80)
        outputs = random.dirichlet(np.ones(3), (6, 80))
        outputs[:, np.arange(80), y] += random.uniform(0, 2, (6, 1))
        outputs /= outputs.sum(-1, keepdims=True)
        losses = [-np.log(one[np.arange(80), y]).mean() for one in outputs]
        mean = mean_of(outputs, select(outputs, y))
        assert -np.log(mean[np.arange(80), y]).mean() <= min(losses) + 1e-9


def test_the_ensemble_is_told_beside_the_winner_and_never_as_the_winner(
    selected: tuple[Trained, FinalResults],
) -> None:
    trained, results = selected
    told = results.export["ensemble"]
    assert told["chosen_on"]["rows"] == len(trained.job(again=True).dataset.validation)
    assert sum(member["count"] for member in told["members"]) >= 1
    assert all(entrant.name != "ensemble" for entrant in results.entrants)
    assert set(told["scores"]) == set(results.winning.scores)
    section = str(final_section(trained.run_dir))
    assert "such a value is optimistic" in section
    assert "An ensemble of" in (trained.final_dir / "README.md").read_text()
    again = FinalResults.read(trained.final_dir)
    assert again is not None
    assert again.export["ensemble"] == told


def test_the_exported_ensemble_predicts_the_mean_of_its_members(
    selected: tuple[Trained, FinalResults], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    trained, results = selected
    test = load_test("digits", "data")
    model = load_model(trained.run_dir)
    ensemble = load_ensemble(model, trained.final_dir)
    found = ensemble.predict(test.x)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    accuracy = (found.argmax(1) == test.y.numpy()).mean()
    assert accuracy == pytest.approx(results.export["ensemble"]["scores"]["accuracy"]["value"], abs=2 / len(test.x))
    path = tmp_path / "digit.png"
    Image.fromarray(test.x[0, 0].numpy()).save(path)
    assert predict.main([str(trained.run_dir), str(path), "--ensemble", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    expected = dict(zip(model.classes, found[0].tolist(), strict=True))
    assert said["probabilities"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "auc"])
def test_without_held_out_rows_the_members_are_the_networks_of_the_winner(metric: str) -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 120)
    rows = [measured(name, random.dirichlet(np.ones(3), (2, 120))) for name in ("trial-3", "baseline")]
    dataset: Any = SimpleNamespace(validation=[], task="classification")
    test: Any = SimpleNamespace(y=torch.from_numpy(y), groups=None)
    pool = pool_of_networks(rows, dataset, lambda _: None)  # pyright: ignore[reportArgumentType]
    asked: dict[str, Any] = {"task": "classification", "metric": metric, "seed": 0}
    members, told = evaluate_ensemble(pool, test, rows[0].outputs[0], **asked)
    assert [(network, count) for network, count in members] == [(network, 1) for network in rows[0].networks]
    assert "chosen_on" not in told
    mean = rows[0].outputs.mean(0).argmax(1)
    assert told["scores"]["accuracy"]["value"] == pytest.approx((mean == y).mean())
    said = joint(told, metric=metric)
    assert said.startswith(f"An ensemble of 2 networks (trial 3) reaches a test {metric_named(metric).title} of ")
    assert "so nothing was selected" in said


def test_the_ensemble_is_compared_with_every_other_method_and_the_tuned_ones_are_named() -> None:
    random = np.random.default_rng(0)
    y = random.normal(size=300)
    rows = [measured("trial-3", y + random.normal(size=(3, 300)))]
    methods: Any = [
        SimpleNamespace(
            name=name,
            outputs=(y + noise * random.normal(size=300))[None],
            baseline=SimpleNamespace(method=SimpleNamespace(name=name, title=title, tuned=title.endswith("tuned"))),
        )
        for name, title, noise in (("mean", "mean", 3.0), ("catboost", "CatBoost, tuned", 0.1))
    ]
    dataset: Any = SimpleNamespace(validation=[], task="regression")
    test: Any = SimpleNamespace(y=torch.from_numpy(y), groups=None)
    pool = pool_of_networks(rows, dataset, lambda _: None)  # pyright: ignore[reportArgumentType]
    asked: dict[str, Any] = {"task": "regression", "metric": "rmse", "seed": 0, "methods": methods}
    _, told = evaluate_ensemble(pool, test, rows[0].outputs[0], **asked)
    constant, boosting = told["methods"]
    assert constant["high"] < 0 < boosting["low"], "a smaller error than the one, a larger one than the other"
    error = np.sqrt(((rows[0].outputs.mean(0) - y) ** 2).mean())
    assert told["scores"]["rmse"]["value"] == pytest.approx(error)
    assert boosting["value"] == pytest.approx(error - np.sqrt(((methods[1].outputs[0] - y) ** 2).mean()))
    said = joint(told, metric="rmse")
    assert "Its differences from boosting tuned on the rows of the search: CatBoost +0.4" in said
    assert "mean" not in said


def test_an_ensemble_that_is_missing_damaged_or_changed_is_one_line(
    selected: tuple[Trained, FinalResults], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = Path(shutil.copytree(selected[0].final_dir, tmp_path / "final"))
    path, model = folder / "ensemble.safetensors", load_model(folder)
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ValueError, match="was refused: it is damaged or was changed"):
        load_ensemble(model, folder)
    path.unlink()
    assert predict.main([str(folder), "image.png", "--ensemble"]) == 2
    said = capsys.readouterr().err
    assert f"{path} is missing; export it with: " in said
    assert "--ensemble networks --again" in said
    assert predict.main([str(folder), "image.png", "--ensemble", "--interval", "0.9"]) == 2
    facts = json.loads((folder / "model.json").read_text())
    facts["ensemble"]["members"][0]["count"] += 1
    (folder / "model.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="but its weights were trained with"):
        load_model(folder)


@pytest.mark.parametrize("space", ["digits_arch", "diabetes_mlp"])
def test_networks_that_the_search_kept_form_an_ensemble_without_training(space: str, tmp_path: Path) -> None:
    """Of a regression too: the targets of the search have another mean than those of the final evaluation."""
    words = ("--space", space, "--keep-best", "3", "--keep-epoch", "best")
    searched = trained_run(tmp_path, *words, trials=2)
    keep_trials(searched)
    results = evaluated(searched, "trials")
    told = results.export["ensemble"]
    assert told["of"] == "trials"
    assert told["chosen_on"]["candidates"] == 2
    assert {member["name"] for member in told["members"]} <= {"trial-0", "trial-1"}
    ensemble = load_ensemble(load_model(searched.run_dir), searched.final_dir)
    test = load_test(results.dataset, "data", like=searched.job(again=True).dataset)
    found, y = ensemble.predict(test.x), test.y.numpy()
    if space == "digits_arch":
        assert (found.argmax(1) == y).mean() == pytest.approx(told["scores"]["accuracy"]["value"], abs=2 / len(y))
    else:
        assert np.sqrt(((found - y) ** 2).mean()) == pytest.approx(told["scores"]["rmse"]["value"], rel=1e-5)
    section = str(final_section(searched.run_dir))
    assert "trials of the search</th>" in section
    assert "Its members are networks of the search, chosen among 2" in section


def test_a_search_that_kept_one_network_says_what_keeps_more(selected: tuple[Trained, FinalResults]) -> None:
    with pytest.raises(ValueError, match="at least 2 finished trials, run 'x' has .*; search with --keep-best 10"):
        selected[0].job(again=True, ensemble="trials")


def test_a_search_keeps_the_checkpoints_of_its_best_finished_trials(tmp_path: Path) -> None:
    run: Any = SimpleNamespace(
        keep_checkpoints="best", keep_best=2, objective=Objective(metric="loss", direction="minimize")
    )
    keeper = CheckpointKeeper(tmp_path, SimpleNamespace(trials=[]), run)  # pyright: ignore[reportArgumentType]
    for number, loss in enumerate((0.5, 0.3, 0.9, 0.3, 0.1)):
        (tmp_path / trial_name(number) / "epoch-0001").mkdir(parents=True)
        x = {"x": FloatDistribution(0, 9)}
        trial = create_trial(state=TrialState.COMPLETE, value=loss, params={"x": float(number)}, distributions=x)
        trial.number = number
        keeper.clean(trial)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trial-00001", "trial-00004"]


@pytest.mark.parametrize(
    ("keep", "left"), [("best", ["00001", "00003", "00007"]), ("all", ["00000", "00001", "00002", "00003", "00007"])]
)
def test_what_a_killed_search_left_of_ended_trials_is_removed_when_it_is_resumed(
    keep: str, left: list[str], tmp_path: Path
) -> None:
    run: Any = SimpleNamespace(
        keep_checkpoints=keep, keep_best=1, objective=Objective(metric="loss", direction="minimize")
    )
    ends = (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING)
    trials = []
    for number, state in enumerate(ends):
        value = 1.0 - number if state == TrialState.COMPLETE else None
        trials.append(create_trial(state=state, value=value))
        trials[-1].number = number
    for number in (0, 1, 2, 3, 7):
        (tmp_path / trial_name(number) / "epoch-0001").mkdir(parents=True)
    CheckpointKeeper(tmp_path, SimpleNamespace(trials=trials), run)  # pyright: ignore[reportArgumentType]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"trial-{number}" for number in left]
