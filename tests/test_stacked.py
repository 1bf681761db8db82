"""Several seeds trained at once: the same bits as single trainings, which leave and join, and how they are grouped."""

import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from analysis.evaluation.job import Job as Evaluation
from analysis.evaluation.settings import Options
from search.execution.worker import Job, TrialWorker
from search.process.arguments import parse
from search.runtime.resources import Resources
from search.scheduling.constraints import make_examiner
from search.scheduling.search import Search
from search.scheduling.stacks import Stacks, make_stacks
from search.session.fixed import FixedTraining
from search.session.options import Options as SearchOptions
from search.session.session import Session
from search.storage.ledger import Ledger
from search.storage.run import Planned
from search.storage.space import space_of
from search.storage.study import new_run, open_study, resume_study
from spaces import tabular_mlp
from spaces.space import load
from tests.benches import Diary
from tests.columns import rows, table
from tests.recipes import TIMES
from tests.searching import ROOT
from tests.stored import stored_search
from tests.workers import step
from trainables.augmentation.augment import Batches
from trainables.data.dataset import Dataset, Fold
from trainables.files import checkpoint
from trainables.models.embeddings import EncoderConfig
from trainables.models.mlp import MlpConfig
from trainables.supervised import Supervised
from trainables.trainable import Diverged, Keep
from trainables.training.best_epoch import begin_training
from trainables.training.config import TrainConfig
from trainables.training.optim import AdamWConfig, MuonConfig, SgdConfig
from trainables.training.stacked import Stacked, can_stack
from trainables.training.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")
EPOCHS, SEEDS = 4, (3, 1, 8)
MODEL = MlpConfig(depth=2, width=48, dropout=0.2)
PLAIN = TrainConfig(model=MODEL, optimizer=AdamWConfig(lr=0.01), batch_size=32, ema_decay=0.9)
EVERYTHING = replace(
    PLAIN,
    model=MlpConfig(block="residual", depth=2, width=40, dropout=0.1, batch_norm=True, activation="silu"),
    clip_norm=0.5,
    target_scaling="quantile",
)


def dataset(*, num_classes: int = 0, passes: int = 1) -> Dataset:
    """Gaps, categories, and validation rows; the training rows do not fill the last batch."""
    validation = rows(50, seed=1, num_classes=num_classes)
    return replace(table(300, num_classes=num_classes), validation=validation, passes=passes)


def with_encoder(**settings: Any) -> TrainConfig:
    return replace(PLAIN, model=replace(MODEL, encoder=EncoderConfig(**settings)))


CASES: dict[str, tuple[TrainConfig, Dataset]] = {
    "plain": (PLAIN, dataset()),
    "no average, several passes": (replace(PLAIN, ema_decay=0.0, batch_size=64), dataset(passes=2)),
    "everything": (EVERYTHING, dataset()),
    "classes": (replace(EVERYTHING, class_weights="sqrt", label_smoothing=0.1), dataset(num_classes=3)),
    "momentum": (replace(PLAIN, optimizer=SgdConfig(lr=0.05)), dataset()),
    "a rate for each kind": (replace(PLAIN, optimizer=SgdConfig(lr=0.05, bias_factor=2, head_factor=0.5)), dataset()),
    "muon": (replace(EVERYTHING, optimizer=MuonConfig(lr=0.02, bias_lr=0.1)), dataset()),
    "a pinball loss": (PLAIN, replace(dataset(), metric="pinball:0.9")),
    "standard scale": (with_encoder(scaling="standard"), dataset()),
    "piecewise linear": (with_encoder(embedding="piecewise_linear", num_bins=11, embedding_size=5), dataset()),
    "periodic": (with_encoder(embedding="periodic", num_frequencies=9, embedding_size=7), dataset()),
}


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def untimed(record: Any) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in TIMES}


def assert_alike(config: TrainConfig, data: Dataset, *, keep: Keep | None = None, epochs: int = EPOCHS) -> None:
    """The members of a stack have the records, states and predictions of trainings of their own."""
    single, members = (
        [begin_training(config, data, epochs=epochs, seed=seed, keep=keep) for seed in SEEDS] for _ in range(2)
    )
    stack = Stacked(members)
    for _ in range(epochs):
        expected, found = [training.run_epoch() for training in single], stack.run_epoch()
        assert [untimed(record) for record in found] == [untimed(record) for record in expected]
        for training, member in zip(single, members, strict=True):
            assert same(training.state(), member.state())
            assert torch.equal(training.predict(data.train.x[:40]), member.predict(data.train.x[:40]))
    assert len({record["train_loss"] for record in expected}) == len(SEEDS)


@pytest.mark.parametrize("name", CASES)
def test_members_have_the_bits_of_single_trainings(name: str) -> None:
    assert_alike(*CASES[name])


@pytest.mark.parametrize("draw", range(8))
def test_members_of_any_configuration_of_the_space_have_the_bits_of_single_trainings(draw: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=draw))
    config = tabular_mlp.SPACE.suggest(study.ask())
    assert_alike(replace(config, model=replace(config.model, neighbours=0, members=0)), dataset(), epochs=2)


def test_members_that_keep_their_best_epoch_keep_that_of_a_single_training() -> None:
    assert_alike(replace(PLAIN, optimizer=AdamWConfig(lr=0.05)), dataset(), keep=Keep(metric="rmse", maximize=False))


def test_a_member_leaves_and_joins_after_any_epoch() -> None:
    config, data = CASES["everything"]
    single, *others = (Training(config, data, epochs=EPOCHS, seed=seed) for seed in (5, 6, 7))
    expected = [untimed(single.run_epoch()) for _ in range(EPOCHS)]
    moved = Training(config, data, epochs=EPOCHS, seed=5)
    found = [Stacked([others[0], moved]).run_epoch()[1], moved.run_epoch()]
    again = Training(config, data, epochs=EPOCHS, seed=5)
    again.restore(moved.state())
    others[1].run_epoch()
    others[1].run_epoch()
    stack = Stacked([again, others[1]])
    found += [stack.run_epoch()[0], stack.run_epoch()[0]]
    assert [untimed(record) for record in found] == expected
    assert same(again.state(), single.state())


def test_a_member_that_diverges_leaves_the_others_as_they_would_be() -> None:
    config, data = CASES["plain"]
    single, good, bad = (Training(config, data, epochs=EPOCHS, seed=seed) for seed in (1, 1, 2))
    stack = Stacked([bad, good])
    stack.run_epoch()
    with torch.no_grad():
        next(bad.model.parameters()).fill_(float("nan"))
    failure, record = stack.run_epoch()
    assert isinstance(failure, Diverged)
    assert str(failure) == "epoch 2: training loss is nan"
    assert bad.epoch == 1
    assert not isinstance(record, Diverged)
    assert [untimed(single.run_epoch()), untimed(single.run_epoch())][1] == untimed(record)
    with pytest.raises(ValueError, match="all 4 epochs are trained"):
        [stack.run_epoch() for _ in range(EPOCHS)]


def test_only_networks_that_keep_their_bits_are_stacked() -> None:
    data = dataset()
    assert can_stack(PLAIN, data)
    assert not can_stack(replace(PLAIN, batch_size=40), data)
    assert not can_stack(replace(PLAIN, batch_size=512), data)  # all 300 rows
    assert not can_stack(replace(PLAIN, model=replace(MODEL, neighbours=16)), data)
    numbers = torch.arange(350).numpy()
    assert not can_stack(PLAIN, replace(data, folds=(Fold(train=numbers[50:], validation=numbers[:50]),)))
    assert not can_stack(load("digits_arch").decode(load("digits_arch").baseline), data)


def test_the_rows_of_an_epoch_are_those_of_its_batches() -> None:
    data = dataset(passes=3)
    batches = Batches(data, PLAIN.augmentation, batch_size=32, seed=4)
    found = [batch.y for batch in batches.epoch(2)]
    assert torch.equal(data.train.y[batches.rows(2)], torch.stack(found))


def plan(configurations: int, seeds: int) -> list[Planned]:
    return [
        Planned(params={"width": 8 * c}, seed=10 + s, tag=f"{c}/{s}")
        for s in range(seeds)
        for c in range(configurations)
    ]


@pytest.mark.parametrize(
    ("configurations", "slots", "sizes"),
    [(1, 1, [5]), (1, 2, [3, 2]), (2, 2, [5, 5]), (3, 2, [5, 5, 3, 2]), (2, 4, [3, 3, 2, 2]), (1, 8, [1] * 5)],
)
def test_stacks_keep_all_slots_busy(configurations: int, slots: int, sizes: list[int]) -> None:
    stacks = make_stacks(plan(configurations, 5), lambda params: True, slots=slots, ended=())
    assert sorted(map(len, set(stacks.of.values())), reverse=True) == sizes
    assert sorted(stacks.of) == list(range(5 * configurations))


def test_a_stack_has_the_seeds_of_one_configuration_that_have_not_ended() -> None:
    planned = [*plan(2, 3), Planned(params={"width": 0}, seed=99, tag="other stop", stop_epoch=3)]
    stacks = make_stacks(planned, lambda params: params["width"] == 0, slots=1, ended={0})
    assert stacks.of == {2: (2, 4), 4: (2, 4)}
    assert stacks.waits(4, {2})
    assert not stacks.waits(4, {3, 4})
    assert stacks.ready([4, 5], {2}) == 5
    assert stacks.ready([4], {2}) is None
    assert Stacks().ready([7, 4], {2}) == 4


@pytest.fixture
def make_worker(tmp_path: Path):
    """Makes the worker of a trial of the baseline, whose seed is its number."""
    arrays = Supervised(dataset="csv").pack(dataset())
    params = {**tabular_mlp.BASELINE, "width": 64, "batch_size": 32, "adamw_lr": 0.01}

    def make(folder: str, trial: int, *, mates: tuple[int, ...] = (), reported: int = 0) -> TrialWorker:
        job = Job(
            space="tabular_mlp", arrays=arrays, epochs=EPOCHS, metric="rmse", checkpoints=str(tmp_path / folder),
            threads=1, cuda=False,
        )  # fmt: skip
        leg = {"trial": trial, "params": params, "seed": trial, "reported": reported}
        worker = TrialWorker.__new__(TrialWorker)
        worker.setup({**leg, "mates": [(mate, mate) for mate in mates]}, job=job)
        return worker

    return make


def stored(folder: Path, trial: int) -> tuple[int, Any, list[dict[str, Any]]]:
    """Epoch, state and records of the newest checkpoint of a trial."""
    loaded = checkpoint.load_newest(folder / f"trial-{trial:05d}")
    assert loaded is not None
    assert loaded.state is not None
    state, records = checkpoint.parted(loaded.state)
    return loaded.epoch, state, [untimed(record) for record in records]


def assert_stored_alike(folder: Path, trial: int) -> None:
    """The trial has the checkpoint that it has in the folder `single`, on the way as at the end."""
    (epoch, state, records), (wanted, expected, alone) = stored(folder, trial), stored(folder.parent / "single", trial)
    for record in [*records, *alone]:
        assert record.pop("started") > 0
    assert (epoch, records) == (wanted, alone)
    assert same(state, expected)


def train(worker: TrialWorker, *, epochs: int = EPOCHS) -> list[float]:
    results = [step(worker) for _ in range(epochs)]
    return [result.record["rmse"] for result in results if result.record]


def test_the_legs_of_mates_report_what_another_leg_has_trained(
    make_worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {trial: train(make_worker("single", trial)) for trial in (0, 1, 2)}
    found = {0: train(make_worker("stacked", 0, mates=(1, 2)))}
    for trial in found | {1: [], 2: []}:
        assert_stored_alike(tmp_path / "stacked", trial)
    monkeypatch.setenv("RUNGWISE_FAULT", ",".join(f"epoch:{epoch}:raise" for epoch in range(1, EPOCHS + 1)))
    assert step(make_worker("elsewhere", 1)).failure == "RuntimeError: an injected fault"  # if it trains
    found |= {trial: train(make_worker("stacked", trial)) for trial in (1, 2)}
    assert found == expected


def test_a_stack_that_is_interrupted_at_any_point_ends_with_the_same_bits(
    make_worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {trial: train(make_worker("single", trial)) for trial in (0, 1, 2)}
    found, reported = [], 0
    for fault in ("epoch:1", "checkpoint:1", "saved:2", "checkpoint:3"):
        monkeypatch.setenv("RUNGWISE_FAULT", f"{fault}:raise")
        worker = make_worker("stacked", 0, mates=(1, 2), reported=reported)
        while (result := step(worker)).record is not None:
            found.append(result.record["rmse"])
        assert result.failure == "RuntimeError: an injected fault"
        reported = len(found)
    monkeypatch.delenv("RUNGWISE_FAULT")
    found += train(make_worker("stacked", 0, mates=(1, 2), reported=reported), epochs=EPOCHS - reported)
    assert found == expected[0]
    for trial in (0, 1, 2):
        assert_stored_alike(tmp_path / "stacked", trial)


def test_a_mate_that_is_behind_is_left_to_its_own_leg(make_worker: Any, tmp_path: Path) -> None:
    expected = {trial: train(make_worker("single", trial)) for trial in (0, 1, 2)}
    begun = train(make_worker("stacked", 0, mates=(1, 2)), epochs=2)
    shutil.rmtree(tmp_path / "stacked" / "trial-00002" / "epoch-0002")
    found = {0: begun + train(make_worker("stacked", 0, mates=(1, 2), reported=2), epochs=2)}
    assert stored(tmp_path / "stacked", 1)[0] == EPOCHS
    assert stored(tmp_path / "stacked", 2)[0] == 1
    found |= {trial: train(make_worker("stacked", trial)) for trial in (1, 2)}
    assert found == expected
    assert_stored_alike(tmp_path / "stacked", 2)


def fixed_training(folder: Path, *, slots: int, seeds: int) -> FixedTraining:
    """Two configurations that are stacked and one that is not, whose schedules end before the last epoch."""
    words = (
        "--runs-dir",
        str(folder),
        "--name",
        "x",
        "--space",
        "diabetes_mlp",
        "--max-epochs",
        str(EPOCHS),
        "--train-size",
        "150",
    )
    session = Session.open(parse(SearchOptions, [*words, "--min-epochs", "1"], prog="search.run"), given=())
    small = {**session.space.baseline, "width": 64, "batch_size": 32}
    chosen = (small, {**small, "depth": 3}, {**small, "batch_size": 256})
    assert [can_stack(session.space.decode(params), session.dataset) for params in chosen] == [True, True, False]
    return FixedTraining(
        folder=folder / f"of {slots}",
        like=session.run,
        plan=[
            Planned(params=params, seed=seed, tag=f"trial-{place}/{seed}", stop_epoch=EPOCHS - 1)
            for seed in range(seeds)
            for place, params in enumerate(chosen)
        ],
        dataset=session.dataset,
        resources=Resources(slots=slots, cpus_per_trial=1, gpus_per_trial=0.0),
        keep_checkpoints=True,
    )


def train_without_ray(fixed: FixedTraining, *, is_stacked: bool, most_steps: int = 10**9) -> tuple[Search, int]:
    """Train as on Ray, one step of each worker after another; return the search and how often a lead took mates."""
    space = space_of(fixed.like)
    run = fixed._asked(space)
    if not (fixed.folder / "run.json").exists():
        new_run(fixed.folder, run)
    ledger = Ledger(resume_study(fixed.folder, run), run)
    stacks = fixed._stacks(run, space, ledger) if is_stacked else Stacks()
    search = Search(run, ledger, space, examine=make_examiner(run, fixed.dataset), events=Diary(), stacks=stacks)
    job = Job(
        space=run.space, arrays=space.work.pack(fixed.dataset), epochs=run.epochs, metric=run.metric, keep=run.keep,
        checkpoints=str(fixed.folder / "checkpoints"), threads=1, cuda=False,
    )  # fmt: skip
    workers: dict[str, TrialWorker] = {}
    num_legs, num_leads = 0, 0
    for _ in range(most_steps):
        while len(workers) < fixed.resources.slots and (leg := search.next_leg(f"leg {num_legs}")) is not None:
            assert not {number for number, _ in leg.mates} & search.live
            worker = workers[f"leg {num_legs}"] = TrialWorker.__new__(TrialWorker)
            worker.setup(asdict(leg), job=job)
            num_legs, num_leads = num_legs + 1, num_leads + bool(leg.mates)
        if not workers:
            break
        for leg_id, worker in list(workers.items()):
            if not search.on_result(leg_id, step(worker)):
                search.end_leg(leg_id, lost=False)
                del workers[leg_id]
    return search, num_leads


@pytest.mark.parametrize(("slots", "leads"), [(1, 2), (2, 2), (3, 4)])
def test_fixed_trainings_are_stacked_on_any_number_of_slots(slots: int, leads: int, tmp_path: Path) -> None:
    plain, stacked = (fixed_training(tmp_path / name, slots=slots, seeds=5) for name in ("plain", "stacked"))
    expected, none = train_without_ray(plain, is_stacked=False)
    train_without_ray(stacked, is_stacked=True, most_steps=2)  # as if it were killed
    found, first_leads = train_without_ray(stacked, is_stacked=True)
    assert none == 0
    assert first_leads >= leads
    for one, other in zip(expected.ledger.trials, found.ledger.trials, strict=True):
        assert (one.state, one.value, one.intermediate_values) == (other.state, other.value, other.intermediate_values)
        assert one.state.is_finished()
        states = [stored(fixed.folder / "checkpoints", one.number)[1] for fixed in (plain, stacked)]
        assert same(*states)


def test_trainings_on_several_threads_are_not_stacked(tmp_path: Path) -> None:
    fixed = fixed_training(tmp_path, slots=1, seeds=2)
    fixed = replace(fixed, resources=replace(fixed.resources, cpus_per_trial=2))
    assert train_without_ray(fixed, is_stacked=True, most_steps=1)[1] == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_final_evaluation_whose_workers_are_killed_has_the_networks_of_single_trainings(tmp_path: Path) -> None:
    space = ("--space", "diabetes_mlp", "--max-epochs", "6", "--min-epochs", "2")
    run_dir = stored_search(tmp_path, "--name", "x", *space, "--trials", "2", finished=2)
    words = (str(run_dir), "--top", "1", "--seeds", "3", "--without-intervals", "--concurrent", "2")
    faults = {"RUNGWISE_FAULT": "checkpoint@0:2:kill,saved@1:1:kill", "RUNGWISE_FAULT_ONCE": str(tmp_path / "fault")}
    done = subprocess.run(
        [sys.executable, "-m", "analysis.final", *words],
        cwd=ROOT, env={**os.environ, **faults}, capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("fault.*"))) == 2
    job = Evaluation.open(Options(run=run_dir, again=True), command="")
    trials = open_study(job.final_dir / "training").trials
    assert len(trials) == len(job.plan) >= 6
    assert any(can_stack(job.space.decode(planned.params), job.dataset) for planned in job.plan)
    for planned, trial in zip(job.plan, trials, strict=True):
        assert planned.seed is not None
        config = job.space.decode(planned.params)
        single = Training(config, job.dataset, epochs=job.epochs, seed=planned.seed)
        records = [single.run_epoch() for _ in range(planned.stop_epoch or job.epochs)]
        assert list(trial.intermediate_values.values()) == [record["train_loss"] for record in records]
        assert same(stored(job.final_dir / "training" / "checkpoints", trial.number)[1], single.state())
