"""The format of checkpoints: complete or absent, with a checksum that is verified before use.

    STORE/epoch-0009/state.pt         torch.save of a state that loads with weights_only=True
    STORE/epoch-0009/manifest.json    epoch, size and crc32 of state.pt; written last

STORE is the folder of one trial, or an entry of an object store.
"""

import hashlib
import io
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainables.files.stores import MANIFEST, Store, UnreachableError, open_store
from trainables.trainable import RestoreError, StateError

_STATE = "state.pt"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What `load_newest` found."""

    state: dict[str, Any] | None
    """None if every checkpoint is damaged: start again."""
    epoch: int
    """Finished epochs in `state`; 0 without one."""
    problems: list[str]
    """One line for the user about each damaged checkpoint that was skipped."""


def save(where: str | Path | Store, state: dict[str, Any], *, epoch: int, keep: int = 2) -> None:
    """Write the state after `epoch`: `as_bytes` and `write`."""
    write(where, as_bytes(state), epoch=epoch, keep=keep)


def write(where: str | Path | Store, data: memoryview, *, epoch: int, keep: int = 2) -> None:
    """Write a state after `epoch`, and remove all but it and the `keep` - 1 checkpoints before it.

    Checkpoints of later epochs are removed as well: only those that cannot be used are newer than the training.

    There is no fsync: after a power cut a file may be incomplete, which its checksum shows, and the previous epoch is
    used. A synchronous write after every epoch would cost more: some epochs take a tenth of a second.

    Args:
        where: folder, URI or store of one trial; created if missing. One process writes to it at a time.
        data: `as_bytes` of the state.
        epoch: number of finished epochs.
        keep: at least 1.

    Raises:
        OSError, UnreachableError: it could not be written; older checkpoints stay.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    store = _opened(where)
    manifest = {"epoch": epoch, "size": len(data), "crc32": zlib.crc32(data)}
    store.write(_entry(epoch), {_STATE: data, MANIFEST: json.dumps(manifest).encode()})
    found = _checkpoints(store)
    kept = [entry for number, entry in found if number <= epoch][:keep]
    for _, entry in found:
        if entry not in kept:
            store.remove(entry)


def as_bytes(state: dict[str, Any]) -> memoryview:
    """The content of state.pt: a copy of the state as it is now.

    It has no checksums of torch, because they take longer than everything else.

    Args:
        state: tensors and plain values, so that it loads with `weights_only=True`.
    """
    buffer, before = io.BytesIO(), torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, buffer)
    finally:
        torch.serialization.set_crc32_options(before)
    return buffer.getbuffer()


def with_records(training: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The state of a training with the records of its finished epochs, as it is saved."""
    return {"records": list(records), "training": dict(training)}


def parted(state: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The state of the training and the records of its epochs; older checkpoints hold both in one."""
    if "training" in state:
        return state["training"], list(state["records"])
    return state, list(state.get("history", ()))


def load_newest(where: str | Path | Store, *, use: Callable[[dict[str, Any]], None] | None = None) -> Loaded | None:
    """The newest checkpoint that is complete, or None if the store has none; nothing is written.

    Damaged ones are skipped and reported: `checkpoint 3 of trial-00005 is damaged (checksum); using epoch 2`.

    Args:
        where: folder, URI or store of one trial.
        use: called with each state in turn; if it raises, the state is of a different training and skipped too.

    Raises:
        RestoreError: `use` raised it: the state is sound, and the user's own code cannot continue from it.
        UnreachableError: an object store does not answer; it may contain checkpoints.
    """
    store = _opened(where)
    found = _checkpoints(store)
    damages: list[tuple[int, str]] = []
    state, used = None, 0
    for epoch, entry in found:
        try:
            state = _read(store, entry, epoch)
            if use is not None:
                _try(use, state)
            used = epoch
            break
        except _DamagedError as damage:
            state = None
            damages.append((epoch, str(damage)))
    outcome = f"using epoch {used}" if used else "none is left, starting again"
    problems = [f"checkpoint {epoch} of {store.name} is damaged ({reason}); {outcome}" for epoch, reason in damages]
    return Loaded(state=state, epoch=used, problems=problems) if found else None


class _DamagedError(Exception):
    """A checkpoint that cannot be used; the message is the reason in a word or two."""


def _try(use: Callable[[dict[str, Any]], None], state: dict[str, Any]) -> None:
    """Call `use`; any error means damage, which may be deliberate, except a lack of memory and errors of own code."""
    try:
        use(state)
    except (MemoryError, torch.OutOfMemoryError, RestoreError):
        raise
    except StateError as error:
        raise _DamagedError(f"of a different training: {error}") from error
    except Exception as error:
        raise _DamagedError("of a different training") from error


def _read(store: Store, entry: str, epoch: int) -> dict[str, Any]:
    """The state of a complete entry; any exception counts as damage, since files may be damaged deliberately."""
    try:
        manifest = json.loads(store.read(entry, MANIFEST))
        size, is_whole = manifest["size"], _comparison(manifest)
        sound = manifest["epoch"] == epoch
    except UnreachableError:
        raise
    except Exception as error:
        raise _DamagedError("manifest") from error
    if not sound:
        raise _DamagedError("manifest")
    try:
        data = store.read(entry, _STATE)
    except FileNotFoundError as error:
        raise _DamagedError("missing file") from error
    except OSError as error:
        raise _DamagedError(error.strerror or "cannot be read") from error
    if len(data) != size:
        raise _DamagedError("size")
    if not is_whole(data):
        raise _DamagedError("checksum")
    try:
        state = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:
        raise _DamagedError("refused: it contains more than tensors and plain values") from error
    if not isinstance(state, dict):
        raise _DamagedError("refused: it is not a state")
    return state


def _comparison(manifest: Mapping[str, Any]) -> Callable[[bytes], bool]:
    """The comparison of a file with the checksum in its manifest: crc32, or sha256 in checkpoints of older releases.

    Both detect accidental damage, and crc32 takes a quarter of the time.
    """
    if "crc32" in manifest:
        return lambda data: zlib.crc32(data) == manifest["crc32"]
    sha256 = manifest["sha256"]
    return lambda data: hashlib.sha256(data).hexdigest() == sha256


def _opened(where: str | Path | Store) -> Store:
    return open_store(where) if isinstance(where, str | Path) else where


def _entry(epoch: int) -> str:
    return f"epoch-{epoch:04d}"


def _checkpoints(store: Store) -> list[tuple[int, str]]:
    """Pairs (epoch, entry), newest first."""
    matches = (re.fullmatch(r"epoch-(\d{4,9})", name) for name in store.entries())
    return sorted(((int(match[1]), match[0]) for match in matches if match), reverse=True)
