"""Checkpoints in a shared folder and in an object store: whole or not there, verified, cleaned up."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from search.execution.worker import Job, TrialWorker
from search.scheduling.checkpoints import check_storage, checkpoints_of
from search.storage.run import read_run
from spaces.space import load
from tests.ledgers import make_run
from tests.searching import ROOT, assert_sound, search, table, trials_of
from tests.stores import KEYS, SECRET, Bucket, bucket
from tests.workers import numbers, step
from trainables.files.checkpoint import load_newest, save
from trainables.files.stores import Folder, ObjectStore, UnreachableError, join, open_store
from trainables.sources import load as data

__all__ = ["bucket"]  # a fixture

NOWHERE = "s3://bucket/x?scheme=http&region=us-east-1&endpoint_override=127.0.0.1%3A9"
"""The discard port: nothing answers."""


@pytest.fixture(params=["folder", "store"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return (tmp_path / "shared").as_uri()
    return request.getfixturevalue("bucket").uri(tmp_path.name)


def make_state(epoch: int) -> dict[str, Any]:
    return {"weight": torch.full((64, 64), float(epoch))}


def flip_one_bit(uri: str, epoch: int) -> None:
    store = open_store(uri)
    data = bytearray(store.read(f"epoch-{epoch:04d}", "state.pt"))
    data[len(data) // 2] ^= 1
    overwrite(uri, f"epoch-{epoch:04d}/state.pt", bytes(data))


def overwrite(uri: str, file: str, data: bytes) -> None:
    store = open_store(uri)
    if isinstance(store, Folder):
        (store.path / file).write_bytes(data)
    elif isinstance(store, ObjectStore):
        with store.files.open_output_stream(f"{store.path}/{file}") as stream:
            stream.write(data)


def test_a_uri_names_a_folder_or_a_store(bucket: Bucket, tmp_path: Path):
    assert open_store(tmp_path) == open_store(str(tmp_path)) == open_store(tmp_path.as_uri()) == Folder(tmp_path)
    store = open_store(join(bucket.uri("runs/"), "first")).child("trial-00005")
    assert isinstance(store, ObjectStore)
    assert (store.path, store.name) == ("bucket/runs/first/trial-00005", "trial-00005")


def test_the_newest_checkpoints_are_kept_and_loaded_again(uri: str):
    assert load_newest(uri) is None
    for epoch in (1, 2, 3):
        save(uri, make_state(epoch), epoch=epoch)
    assert sorted(open_store(uri).entries()) == ["epoch-0002", "epoch-0003"]
    loaded = load_newest(uri)
    assert loaded is not None
    assert loaded.state is not None
    assert (loaded.epoch, loaded.problems) == (3, [])
    assert torch.equal(loaded.state["weight"], torch.full((64, 64), 3.0))


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(uri: str):
    for epoch in (1, 2):
        save(uri, make_state(epoch), epoch=epoch)
    flip_one_bit(uri, 2)
    loaded = load_newest(uri)
    assert loaded is not None
    name = open_store(uri).name
    assert (loaded.epoch, loaded.problems) == (1, [f"checkpoint 2 of {name} is damaged (checksum); using epoch 1"])
    save(uri, make_state(2), epoch=2)  # trained again
    assert load_newest(uri).epoch == 2  # type: ignore[union-attr]


def test_what_is_removed_is_gone_and_its_neighbours_stay(uri: str):
    for trial in ("trial-00001", "trial-00010"):
        save(join(uri, trial), make_state(1), epoch=1)
    open_store(uri).remove("trial-00001")
    open_store(uri).remove("trial-00001")  # gone already
    assert load_newest(join(uri, "trial-00001")) is None
    assert load_newest(join(uri, "trial-00010")) is not None


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_process_killed_while_it_writes_a_checkpoint_again_leaves_the_newest_one(at: int, tmp_path: Path):
    """Killed before each of the renames: of what is new, of what was there, and of what is new into its store."""
    for epoch in (1, 2):
        save(tmp_path, make_state(epoch), epoch=epoch)
    program = f"""
import os, sys, torch
from pathlib import Path
from trainables.files.checkpoint import save
left = {at}

def look(event, _):
    global left
    left -= event == "os.rename"
    if not left:
        os._exit(9)

sys.addaudithook(look)
save(Path({str(tmp_path)!r}), {{"weight": torch.full((64, 64), 5.0)}}, epoch=2)
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 9
    assert {"epoch-0001", "epoch-0002"} <= set(open_store(tmp_path).entries())
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.state is not None
    assert (loaded.epoch, loaded.problems) == (2, [])
    assert loaded.state["weight"][0, 0] == (2.0 if at == 1 else 5.0)
    save(tmp_path, make_state(3), epoch=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-0002", "epoch-0003"]
    assert load_newest(tmp_path).epoch == 3  # type: ignore[union-attr]
    open_store(tmp_path).remove("epoch-0002")
    assert open_store(tmp_path).entries() == ["epoch-0003"]


@pytest.mark.parametrize("file", ["state.pt", "manifest.json"])
def test_a_process_killed_while_it_uploads_leaves_no_checkpoint(file: str, bucket: Bucket, tmp_path: Path):
    """Killed when half of a file has been handed over."""
    uri = bucket.uri(tmp_path.name)
    program = f"""
import os, sys, torch
from trainables.files.checkpoint import save
from trainables.files.stores import ObjectStore, open_store

class Dying:
    def __init__(self, files):
        self._files = files
    def __getattr__(self, name):
        return getattr(self._files, name)
    def open_output_stream(self, path):
        stream = self._files.open_output_stream(path)
        if path.endswith("epoch-0002/{file}"):
            stream.write(b"half")
            os.kill(os.getpid(), 9)
        return stream

store = open_store(sys.argv[1])
save(store, {{"weight": torch.ones(9)}}, epoch=1)
save(ObjectStore(Dying(store.files), store.path), {{"weight": torch.ones(9)}}, epoch=2)
"""
    done = subprocess.run([sys.executable, "-c", program, uri], cwd=ROOT, timeout=100, check=False)
    assert done.returncode == -9
    loaded = load_newest(uri)
    assert loaded is not None
    assert (loaded.epoch, loaded.problems) == (1, [])
    save(uri, make_state(2), epoch=2)
    assert load_newest(uri).epoch == 2  # type: ignore[union-attr]


@pytest.mark.parametrize("ended", ["state.pt", "manifest.json"])
def test_a_checkpoint_that_is_written_again_stays_until_the_new_one_is_whole(
    ended: str, bucket: Bucket, tmp_path: Path
):
    """The store fails after half of the state, or before the manifest, the second time that an epoch is kept."""

    class Failing:
        def __init__(self, files: Any) -> None:
            self._files = files

        def __getattr__(self, name: str) -> Any:
            return getattr(self._files, name)

        def open_output_stream(self, path: str) -> Any:
            if path.endswith("/state.pt") and ended == "state.pt":
                with self._files.open_output_stream(path) as stream:
                    stream.write(b"half")
            if path.endswith(f"/{ended}"):
                raise OSError("no route to host")
            return self._files.open_output_stream(path)

    store = open_store(bucket.uri(tmp_path.name))
    assert isinstance(store, ObjectStore)
    failing = ObjectStore(Failing(store.files), store.path)  # pyright: ignore[reportArgumentType]
    save(store, make_state(1), epoch=1, keep=1)
    for _ in range(2):
        with pytest.raises(UnreachableError, match="no route to host"):
            save(failing, make_state(7), epoch=1, keep=1)
        loaded = load_newest(store)
        assert loaded is not None
        assert loaded.state is not None
        assert (loaded.problems, loaded.state["weight"][0, 0]) == ([], 1)
    for value in (2, 3):
        save(store, make_state(value), epoch=1, keep=1)
        loaded = load_newest(store)
        assert loaded is not None
        assert loaded.state is not None
        assert (loaded.problems, loaded.state["weight"][0, 0], store.entries()) == ([], value, ["epoch-0001"])
    assert len(store._list("")) == 2
    store.remove("epoch-0001")
    assert store._list("") == []


def test_a_storage_that_cannot_be_used_is_bad_input(bucket: Bucket, tmp_path: Path):
    taken = make_run(storage=bucket.uri("taken"))
    check_storage(taken, new=True)
    save(join(checkpoints_of(taken, tmp_path), "trial-00000"), make_state(1), epoch=1)
    check_storage(taken, new=False)
    with pytest.raises(ValueError, match=f"--storage already has checkpoints of a run '{taken.name}'; give another"):
        check_storage(taken, new=True)
    with pytest.raises(ValueError, match="--storage s3://nobody-made-it/x.* cannot be written: .*NO_SUCH_BUCKET"):
        check_storage(make_run(storage=bucket.missing()), new=True)


@pytest.fixture
def make_worker() -> Callable[..., TrialWorker]:
    arrays = data.load("digits", "nowhere", train_size=120).arrays()

    def make(where: str, *, reported: int = 0) -> TrialWorker:
        job = Job(
            space="digits_arch", arrays=arrays, epochs=3, metric="accuracy", checkpoints=where, threads=1, cuda=False
        )
        worker = TrialWorker.__new__(TrialWorker)
        params = load("digits_arch").baseline
        worker.setup({"trial": 5, "params": params, "seed": 1, "reported": reported}, job=job)
        return worker

    return make


def test_a_trial_that_changes_nodes_at_every_epoch_tells_the_same_numbers(make_worker, uri: str, tmp_path: Path):
    calm = make_worker(str(tmp_path / "calm"))
    expected = [numbers(step(calm)) for _ in range(3)]
    moved = [step(make_worker(uri, reported=epoch)) for epoch in range(3)]
    assert [numbers(result) for result in moved] == expected
    assert [result.notices for result in moved] == [[]] * 3


def test_a_worker_goes_on_from_the_epoch_before_a_damaged_one(make_worker, uri: str):
    worker = make_worker(uri)
    step(worker)
    expected = numbers(step(worker))
    flip_one_bit(join(uri, "trial-00005"), 2)
    again = step(make_worker(uri, reported=1))
    assert numbers(again) == expected
    assert again.notices == ["checkpoint 2 of trial-00005 is damaged (checksum); using epoch 1"]


def test_a_store_that_does_not_answer_is_no_lost_checkpoint_and_no_fault_of_the_trial(make_worker):
    result = step(make_worker(NOWHERE, reported=1))
    assert (result.failure_kind, result.record, list(result.notices)) == ("storage", None, [])
    assert "the storage bucket/x/trial-00005 cannot be used: " in str(result.failure)


@pytest.mark.slow
def test_a_search_keeps_its_checkpoints_in_the_store_alone_and_is_resumed_from_there(bucket: Bucket, tmp_path: Path):
    words = ("--name", "x", "--max-epochs", "3", "--train-size", "300", "--concurrent", "2", "--seed", "3")
    done = search(tmp_path, *words, "--trials", "4", "--storage", bucket.uri("searches"), **KEYS)
    assert done.returncode == 0, done.stdout + done.stderr
    run_dir = tmp_path / "x"
    assert not (run_dir / "checkpoints").exists()
    kept = checkpoints_of(read_run(run_dir), run_dir)
    finished = [t.number for t in trials_of(run_dir) if t.state.name == "COMPLETE"]
    assert finished
    whole = {n: load_newest(join(kept, f"trial-{n:05d}")) for n in range(4)}
    assert [n for n, found in whole.items() if found is not None] == [
        max(finished, key=lambda n: (trials_of(run_dir)[n].value, -n))
    ]
    before = table(run_dir)
    other = search(tmp_path, "--resume", "--name", "x", "--storage", "file:///tmp", **KEYS)
    assert other.returncode == 2
    assert "storage is 's3://bucket/searches" in other.stderr
    more = search(tmp_path, "--resume", "--name", "x", "--trials", "6", **KEYS)
    assert more.returncode == 0, more.stdout + more.stderr
    assert len(table(run_dir)) == 6
    assert [row[:2] for row in table(run_dir)][:4] == [row[:2] for row in before]
    assert_sound(run_dir)
    for path in run_dir.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in done.stdout + done.stderr + more.stdout + more.stderr
