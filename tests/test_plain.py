"""The plain mode: nothing of ours stands in for a part of Ray, Optuna or torch, and the studies are the same."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.storages import RDBStorage
from torch import nn

from search.runtime.cluster import _check_keys
from search.runtime.private_ray import WARM_UP, warming
from search.storage import kinds
from search.storage.checksums import CHECKSUM
from search.storage.documented import DocumentedStorage
from search.storage.durable import LEASE
from search.storage.lease import Lease
from search.storage.presence import StudyLostError
from search.storage.rdb import WholeTrialStorage
from search.storage.study import open_study, resume_study
from tests.benches import Bench
from tests.ledgers import enqueue, make_run, open_ledger
from tests.searching import QUICK_FILES, ROOT
from trainables.training.device import choose_numerics
from trainables.training.ema import WeightAverage

SEARCH = """
import sys
from pathlib import Path
from search.storage.study import open_study
from tests.benches import Bench

Bench(Path(sys.argv[1]), sampler="tpe", trials=14).train()
open_study(Path(sys.argv[1]))
print(*(name for name in sys.modules if name.startswith("search.")))
"""


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGWISE_PLAIN", "1")


def content(folder: Path) -> list[tuple[Any, ...]]:
    """All but the moments, as Optuna reads it."""
    reader = RDBStorage(f"sqlite:///{folder}/study.db")
    found = [
        (t.number, t.state, t.params, t.values, t.intermediate_values, t.user_attrs, t.system_attrs)
        for t in reader.get_all_trials(1)
    ]
    reader.engine.dispose()
    return found


@pytest.mark.parametrize("sampler", ["curves", "tpe", "random", "qmc"])
def test_a_study_is_the_same_in_plain_mode_to_the_last_attribute(
    sampler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("quick", "plain"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv("RUNGWISE_PLAIN", str(int(name == "plain")))
        bench = Bench(tmp_path / name, sampler=sampler, trials=14)
        kind = DocumentedStorage if name == "plain" else WholeTrialStorage
        assert type(bench.search.ledger._storage) is kind
        bench.train()
        assert [t.number for t in open_study(tmp_path / name).trials] == list(range(14))
    assert content(tmp_path / "plain") == content(tmp_path / "quick")


def test_a_search_goes_over_from_one_mode_to_the_other_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "calm").mkdir()
    (tmp_path / "torn").mkdir()
    Bench(tmp_path / "calm", sampler="curves", trials=12).train()
    for plain, trials in (("0", 4), ("1", 8), ("0", 12)):
        monkeypatch.setenv("RUNGWISE_PLAIN", plain)
        Bench(tmp_path / "torn", sampler="curves", trials=trials).train()
    seeds = [[t.user_attrs["seed"] for t in open_study(tmp_path / name).trials] for name in ("calm", "torn")]
    assert seeds[0] == seeds[1]
    assert all(t.state.is_finished() for t in open_study(tmp_path / "torn").trials)


@pytest.mark.parametrize("written", range(4))
def test_whatever_part_of_an_epoch_a_crash_leaves_is_read_and_written_again(
    written: int, tmp_path: Path, plain: None, monkeypatch: pytest.MonkeyPatch
):
    class Torn(Exception):
        pass

    def stop_after(count: int) -> None:
        """Let the storage write so many times more."""
        left = [count]

        def look(self: DocumentedStorage) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Torn

        monkeypatch.setattr(DocumentedStorage, "_look", look)

    bench = Bench(tmp_path)
    trial, _ = bench.ask()  # type: ignore[misc]
    assert bench.epoch(trial, 1, 0.5)
    stop_after(written)
    with pytest.raises(Torn):
        bench.search.ledger.report(0, epoch=2, value=0.75, record={"epoch": 2, "accuracy": 0.75})
    monkeypatch.undo()  # which also ends the plain mode
    open_study(tmp_path)
    again = open_ledger(tmp_path, bench.run)
    done = 2 in again.trial(0).intermediate_values
    assert done == (written == 3)
    assert again.report(0, epoch=2, value=0.75, record={"epoch": 2, "accuracy": 0.75}) is not done
    again.report(0, epoch=3, value=0.8, record={"epoch": 3, "accuracy": 0.8})
    (stored,) = open_study(tmp_path).trials
    assert stored.intermediate_values == {1: 0.5, 2: 0.75, 3: 0.8}
    assert [record["epoch"] for record in stored.user_attrs["history"]] == [1, 2, 3]
    assert isinstance(stored.system_attrs[CHECKSUM], int)


def test_a_changed_number_is_noticed_in_plain_mode_too(tmp_path: Path, plain: None):
    Bench(tmp_path, trials=2).train()
    storage = RDBStorage(f"sqlite:///{tmp_path}/study.db")
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_params SET param_value = 0.987 WHERE trial_id = 1")
    storage.engine.dispose()
    for read in (open_study, lambda folder: open_ledger(folder, make_run())):
        with pytest.raises(ValueError, match="trial 0: its state, configuration or epochs have changed"):
            read(tmp_path)


def test_in_plain_mode_a_study_has_one_search_at_a_time_and_one_that_lost_it_writes_nothing(
    tmp_path: Path, plain: None
):
    run = make_run(sampler="random")
    bench = Bench(tmp_path)
    storage = bench.search.ledger._storage
    assert isinstance(storage, DocumentedStorage)
    trial, _ = bench.ask()  # type: ignore[misc]
    with Lease(storage, "r", shares=False, renew_seconds=60):
        other = resume_study(tmp_path, run)
        with (
            pytest.raises(ValueError, match=f"study 'r' is in use by pid {os.getpid()} on"),
            Lease(other, "r", shares=False),
        ):
            pass
        with Lease(other, "r", shares=False, force=True):
            assert not bench.epoch(trial, 1, 0.5)
            assert isinstance(bench.search.fatal, StudyLostError)
            assert "took over this study; what this search stored is saved" in str(bench.search.fatal)
    assert open_study(tmp_path).trials[0].intermediate_values == {}
    assert storage.get_study_system_attrs(1)[LEASE] is None
    with Lease(other, "r", shares=False):
        pass


def test_in_plain_mode_two_drivers_without_a_lease_do_not_share_a_number(tmp_path: Path, plain: None):
    one = open_ledger(tmp_path, make_run())
    other = open_ledger(tmp_path, make_run())
    assert one.add({}, {}) == 0
    with pytest.raises(StudyLostError, match="another program is running trial 0 of this study; stop it and resume"):
        other.add({}, {})


def test_in_plain_mode_an_enqueued_configuration_is_trained_as_it_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("quick", "plain"):
        (tmp_path / name).mkdir()
        Bench(tmp_path / name, trials=2).train()
        enqueue(tmp_path / name, {"lr": 0.3333})
        monkeypatch.setenv("RUNGWISE_PLAIN", str(int(name == "plain")))
        Bench(tmp_path / name, trials=4).train()
    assert content(tmp_path / "plain") == content(tmp_path / "quick")


@pytest.mark.parametrize("missing", ["a step", "a table", "a column more"])
def test_an_optuna_whose_tables_are_not_known_stores_them_itself_and_that_is_said_once(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    if missing == "a step":
        monkeypatch.setitem(kinds.STEPS, "_get_trials", ("study_id", "something_new"))
    else:
        table, columns = ("LogModel", {"x"}) if missing == "a table" else ("TrialModel", {"trial_id"})
        monkeypatch.setitem(kinds.TABLES, table, columns)
    kinds._unknown.cache_clear()
    try:
        bench = Bench(tmp_path, trials=2)
        assert type(bench.search.ledger._storage) is DocumentedStorage
        bench.train()
        assert len(open_study(tmp_path).trials) == 2
        said = capsys.readouterr().err
        assert said.count("note: Optuna") == 1
        assert "stores studies in a format unknown to this release (" in said
    finally:
        kinds._unknown.cache_clear()


def test_a_search_in_plain_mode_imports_none_of_the_files_of_private_parts(tmp_path: Path):
    words = [sys.executable, "-c", SEARCH, str(tmp_path)]
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, "RUNGWISE_PLAIN": "1"}, capture_output=True, text=True, check=True
    )
    imported = {f"{name.replace('.', '/')}.py" for name in done.stdout.split()}
    assert "search/storage/documented.py" in imported
    assert imported & QUICK_FILES == set()


def test_the_keys_of_a_store_never_reach_the_logs_of_ray_in_plain_mode(plain: None, monkeypatch: pytest.MonkeyPatch):
    _check_keys()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with pytest.raises(
        ValueError, match="Ray's logs would contain AWS_SECRET_ACCESS_KEY; unset RUNGWISE_PLAIN, or keep the keys in"
    ):
        _check_keys()
    monkeypatch.setenv("RUNGWISE_PLAIN", "0")
    _check_keys()


def test_in_plain_mode_no_worker_is_made_ready_before_its_trial(plain: None):
    assert set(warming(WARM_UP, threads=1).values()) >= {"0"}
    assert WARM_UP not in warming(WARM_UP, threads=1).values()


def test_training_computes_the_same_bits_in_plain_mode(monkeypatch: pytest.MonkeyPatch):
    averages = []
    numerics = []
    for mode in ("0", "1"):
        monkeypatch.setenv("RUNGWISE_PLAIN", mode)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5))
        average = WeightAverage(model, 0.9)
        for step in range(20):
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter))
            average.update(model, step)
        averages.append(average.model.state_dict())
        numerics.append([choose_numerics(torch.device("cpu"), shape) for shape in ((3, 32, 32), (8,))])
    assert all(torch.equal(averages[0][name], averages[1][name]) for name in averages[0])
    assert numerics[0] == numerics[1]
