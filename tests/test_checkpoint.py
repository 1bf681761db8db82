"""Checkpoints under damage, attack and interruption."""

import contextlib
import hashlib
import json
import os
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables.files.checkpoint import load_newest, save
from trainables.files.stores import remove


def make_state(epoch: int) -> dict[str, Any]:
    return {"weight": torch.full((64, 64), float(epoch)), "history": [{"epoch": epoch, "loss": 0.5}], "lr": 0.1}


def save_epochs(folder: Path, *epochs: int, keep: int = 9) -> Path:
    for epoch in epochs:
        save(folder, make_state(epoch), epoch=epoch, keep=keep)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    save(tmp_path / "trial-00005", make_state(9), epoch=9)
    assert names(tmp_path / "trial-00005" / "epoch-0009") == ["manifest.json", "state.pt"]
    loaded = load_newest(tmp_path / "trial-00005")
    assert loaded is not None
    assert loaded.state is not None
    assert (loaded.epoch, loaded.problems) == (9, [])
    assert loaded.state["history"] == [{"epoch": 9, "loss": 0.5}]
    assert torch.equal(loaded.state["weight"], torch.full((64, 64), 9.0))


def test_the_newest_are_kept_and_the_newest_wins_beyond_four_digits_too(tmp_path: Path) -> None:
    save_epochs(tmp_path, 1, 9999, 10000, keep=2)
    assert names(tmp_path) == ["epoch-10000", "epoch-9999"]
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.epoch == 10000


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    (tmp_path / "epoch-latest").mkdir()
    assert load_newest(tmp_path) is None
    assert load_newest(tmp_path / "missing") is None


def truncate(path: Path) -> None:
    data = (path / "state.pt").read_bytes()
    (path / "state.pt").write_bytes(data[: len(data) // 2])


def empty(path: Path) -> None:
    (path / "state.pt").write_bytes(b"")


def flip_one_bit(path: Path) -> None:
    data = bytearray((path / "state.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (path / "state.pt").write_bytes(bytes(data))


def remove_state(path: Path) -> None:
    (path / "state.pt").unlink()


def remove_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


def garble_manifest(path: Path) -> None:
    (path / "manifest.json").write_text("[]")


def manifest_of_another_epoch(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"epoch": 1}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "size"),
        (empty, "size"),
        (flip_one_bit, "checksum"),
        (remove_state, "missing file"),
        (remove_manifest, "manifest"),
        (garble_manifest, "manifest"),
        (manifest_of_another_epoch, "manifest"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path, damage: Any, reason: str) -> None:
    folder = save_epochs(tmp_path / "trial-00005", 2, 3)
    damage(folder / "epoch-0003")
    loaded = load_newest(folder)
    assert loaded is not None
    assert loaded.epoch == 2
    assert loaded.problems == [f"checkpoint 3 of trial-00005 is damaged ({reason}); using epoch 2"]


def test_if_all_are_damaged_the_trial_starts_again_and_it_is_said(tmp_path: Path) -> None:
    folder = save_epochs(tmp_path / "trial-00005", 2, 3)
    for path in folder.iterdir():
        empty(path)
    loaded = load_newest(folder)
    assert loaded is not None
    assert (loaded.state, loaded.epoch) == (None, 0)
    assert loaded.problems == [
        f"checkpoint {epoch} of trial-00005 is damaged (size); none is left, starting again" for epoch in (3, 2)
    ]


def test_a_trial_that_starts_again_replaces_its_damaged_checkpoints(tmp_path: Path) -> None:
    for path in save_epochs(tmp_path, 8, 9).iterdir():
        empty(path)
    for epoch in (1, 2, 3):
        save_epochs(tmp_path, epoch, keep=2)
        loaded = load_newest(tmp_path)
        assert loaded is not None
        assert (loaded.epoch, loaded.problems) == (epoch, [])
    assert names(tmp_path) == ["epoch-0002", "epoch-0003"]


def test_what_is_newer_than_the_checkpoint_that_could_be_used_is_removed(tmp_path: Path) -> None:
    empty(save_epochs(tmp_path, 3, 4, 9) / "epoch-0009")
    save_epochs(tmp_path, 5, keep=2)
    assert names(tmp_path) == ["epoch-0004", "epoch-0005"]


def test_a_damaged_checkpoint_is_replaced_when_its_epoch_is_saved_again(tmp_path: Path) -> None:
    empty(save_epochs(tmp_path, 3) / "epoch-0003")
    save_epochs(tmp_path, 3)
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert (loaded.epoch, loaded.problems) == (3, [])


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("plain", [True, False])
def test_a_malicious_pickle_with_a_correct_checksum_is_refused_and_not_run(tmp_path: Path, *, plain: bool) -> None:
    folder = save_epochs(tmp_path / "trial-00005", 2, 3)
    state = folder / "epoch-0003" / "state.pt"
    if plain:
        state.write_bytes(pickle.dumps(Malicious(tmp_path / "touched"), protocol=2))
    else:
        torch.save({"weight": Malicious(tmp_path / "touched")}, state)
    data = state.read_bytes()
    manifest = {"epoch": 3, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "epoch-0003" / "manifest.json").write_text(json.dumps(manifest))
    loaded = load_newest(folder)
    assert loaded is not None
    assert loaded.epoch == 2
    assert "is damaged (refused" in loaded.problems[0]
    assert not (tmp_path / "touched").exists()


def forge(folder: Path, epoch: int, state: Any) -> None:
    """Put another state in the place of a checkpoint, with a manifest that is right."""
    entry = folder / f"epoch-{epoch:04d}"
    torch.save(state, entry / "state.pt")
    data = (entry / "state.pt").read_bytes()
    manifest = {"epoch": epoch, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (entry / "manifest.json").write_text(json.dumps(manifest))


def test_a_checkpoint_of_an_older_release_is_read_by_its_sha256(tmp_path: Path) -> None:
    folder = save_epochs(tmp_path / "trial-00005", 2, 3)
    forge(folder, 3, {"weight": torch.ones(3)})
    loaded = load_newest(folder)
    assert loaded is not None
    assert (loaded.epoch, loaded.problems) == (3, [])
    flip_one_bit(folder / "epoch-0003")
    loaded = load_newest(folder)
    assert loaded is not None
    assert loaded.problems == ["checkpoint 3 of trial-00005 is damaged (checksum); using epoch 2"]


@pytest.mark.parametrize("state", [torch.zeros(3), None, [1, 2], "state", 7])
def test_what_is_no_state_is_passed_over(tmp_path: Path, state: Any) -> None:
    folder = save_epochs(tmp_path / "trial-00005", 2, 3)
    forge(folder, 3, state)
    loaded = load_newest(folder)
    assert loaded is not None
    assert loaded.problems == ["checkpoint 3 of trial-00005 is damaged (refused: it is not a state); using epoch 2"]


def pipe_in_place_of(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless_device_in_place_of(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def folder_in_place_of(path: Path) -> None:
    path.unlink()
    path.mkdir()


def socket_in_place_of(path: Path) -> None:
    path.unlink()
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)  # the whole path would be too long


def link_that_leads_nowhere_in_place_of(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["state.pt", "manifest.json"])
@pytest.mark.parametrize(
    "replace",
    [
        pipe_in_place_of,
        endless_device_in_place_of,
        folder_in_place_of,
        socket_in_place_of,
        link_that_leads_nowhere_in_place_of,
    ],
)
def test_nothing_waits_for_what_is_no_file_and_the_checkpoint_before_is_used(
    tmp_path: Path, replace: Any, name: str
) -> None:
    folder = save_epochs(tmp_path / "trial-00005", 2, 3)
    replace(folder / "epoch-0003" / name)
    loaded = load_newest(folder)
    assert loaded is not None
    assert loaded.epoch == 2
    assert loaded.problems[0].startswith("checkpoint 3 of trial-00005 is damaged (")
    save_epochs(folder, 3)
    assert [load_newest(folder).epoch, names(folder)] == [3, ["epoch-0002", "epoch-0003"]]  # type: ignore[union-attr]


@pytest.mark.parametrize("make", [os.mkfifo, Path.touch])
def test_what_is_no_folder_in_place_of_a_checkpoint_is_passed_over_and_replaced(tmp_path: Path, make: Any) -> None:
    folder = save_epochs(tmp_path / "trial-00005", 2)
    make(folder / "epoch-0003")
    loaded = load_newest(folder)
    assert loaded is not None
    assert (loaded.epoch, len(loaded.problems)) == (2, 1)
    save_epochs(folder, 3, keep=1)
    assert names(folder) == ["epoch-0003"]


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, "{}", "3", "null", '{"epoch": 3}', "\0"])
def test_a_manifest_of_any_form_is_passed_over(tmp_path: Path, text: str) -> None:
    folder = save_epochs(tmp_path / "trial-00005", 2, 3)
    (folder / "epoch-0003" / "manifest.json").write_text(text)
    loaded = load_newest(folder)
    assert loaded is not None
    assert loaded.problems == ["checkpoint 3 of trial-00005 is damaged (manifest); using epoch 2"]


@pytest.mark.parametrize(
    "error", [IndexError, AttributeError, RecursionError, KeyError, TypeError, RuntimeError, AssertionError, OSError]
)
def test_whatever_is_raised_while_a_state_is_used_the_one_before_is_tried(tmp_path: Path, error: Any) -> None:
    folder = save_epochs(tmp_path / "trial-00005", 2, 3)

    def use(state: dict[str, Any]) -> None:
        if state["history"][0]["epoch"] == 3:
            raise error("forged")

    loaded = load_newest(folder, use=use)
    assert loaded is not None
    assert loaded.problems == ["checkpoint 3 of trial-00005 is damaged (of a different training); using epoch 2"]


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_a_lack_of_memory_is_no_damage(tmp_path: Path, error: Any) -> None:
    folder = save_epochs(tmp_path / "trial-00005", 2, 3)

    def use(state: dict[str, Any]) -> None:
        raise error("no room")

    with pytest.raises(error, match="no room"):
        load_newest(folder, use=use)


def test_an_interrupted_write_is_no_checkpoint_and_is_cleaned_up_by_the_next_save(tmp_path: Path) -> None:
    save_epochs(tmp_path, 1)
    (tmp_path / ".writing-abc").mkdir()
    (tmp_path / ".writing-abc" / "state.pt").write_bytes(b"half")
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.epoch == 1
    save_epochs(tmp_path, 2)
    assert names(tmp_path) == ["epoch-0001", "epoch-0002"]


def test_a_write_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    save_epochs(tmp_path, 1)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save(tmp_path, {"weight": lambda: None}, epoch=2)
    assert names(tmp_path) == ["epoch-0001"]


def test_cleaning_up_removes_a_link_and_never_what_it_points_to(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "file").write_text("precious")
    folder = tmp_path / "trial-00005"
    folder.mkdir()
    os.symlink(treasure, folder / "epoch-0001")
    os.symlink(treasure, folder / ".writing-abc")
    save_epochs(folder, 2, 3, keep=2)
    assert names(folder) == ["epoch-0002", "epoch-0003"]
    os.symlink(treasure, folder / "epoch-0002" / "link")
    os.symlink(folder, tmp_path / "link-to-folder")
    remove(tmp_path / "link-to-folder")
    assert folder.is_dir()
    remove(folder)
    assert not folder.exists()
    assert (treasure / "file").read_text() == "precious"


def test_at_least_one_checkpoint_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        save(tmp_path, {}, epoch=1, keep=0)
