"""Checkpoints that are whole or not there: written aside, checksummed, renamed into place, and verified before use.

FOLDER/epoch-0009/state.pt         torch.save of a state that loads with weights_only=True
FOLDER/epoch-0009/manifest.json    epoch, size and sha256 of state.pt; written last
"""

import hashlib
import io
import json
import os
import pickle
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_TEMPORARY = ".writing-"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What `load_newest` found."""

    state: dict[str, Any] | None
    """None if every checkpoint is damaged: start again."""
    epoch: int
    """Finished epochs in `state`; 0 without one."""
    problems: list[str]
    """One line for each damaged checkpoint that was passed over, for the user to see."""


def save(folder: str | Path, state: dict[str, Any], *, epoch: int, keep: int = 2) -> Path:
    """Writes the state after `epoch` and removes all but the newest `keep` checkpoints of the folder.

    There is no fsync: after a power cut a file may be torn, which its checksum shows, and the epoch before is used.
    That is cheaper than a synchronous write after every epoch, some of which take a tenth of a second.

    Args:
        folder: one trial's own; made if missing. One process writes to it at a time.
        state: tensors and plain values, so that it loads with `weights_only=True`.
        epoch: number of finished epochs.
        keep: at least 1.

    Returns:
        The folder of this checkpoint.

    Raises:
        OSError: it could not be written; nothing is left of the attempt, older checkpoints stay.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(folder)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getbuffer()
    manifest = {"epoch": epoch, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder))
    target = folder / f"epoch-{epoch:04d}"
    try:
        (temporary / "state.pt").write_bytes(data)
        (temporary / "manifest.json").write_text(json.dumps(manifest))
        remove(target)  # left there by a run that went back, or damaged
        os.replace(temporary, target)
    finally:
        remove(temporary)
    for _, old in _checkpoints(folder)[keep:]:
        remove(old)
    return target


def load_newest(folder: str | Path, *, use: Callable[[dict[str, Any]], None] | None = None) -> Loaded | None:
    """Returns the newest checkpoint that is whole, or None if the folder has none at all; writes nothing.

    Damaged ones are passed over and named: `checkpoint 3 of trial-00005 is damaged (sha256); using epoch 2`.

    Args:
        use: takes each state in turn; one that it refuses is of another training, and passed over too.
    """
    folder = Path(folder)
    found = _checkpoints(folder)
    damages: list[tuple[int, str]] = []
    state, used = None, 0
    for epoch, path in found:
        try:
            state = _read(path, epoch)
            if use is not None:
                _try(use, state)
            used = epoch
            break
        except _DamagedError as damage:
            state = None
            damages.append((epoch, str(damage)))
    outcome = f"using epoch {used}" if used else "none is left, starting again"
    problems = [f"checkpoint {epoch} of {folder.name} is damaged ({reason}); {outcome}" for epoch, reason in damages]
    return Loaded(state=state, epoch=used, problems=problems) if found else None


def remove(path: str | Path) -> None:
    """Removes a checkpoint or a whole folder of them; of a symbolic link only the link, never what it points to."""
    path = Path(path)
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path)  # unlinks the links inside


class _DamagedError(Exception):
    """A checkpoint that cannot be used; the message is the reason in a word or two."""


def _try(use: Callable[[dict[str, Any]], None], state: dict[str, Any]) -> None:
    try:
        use(state)
    except (ValueError, KeyError, TypeError) as error:
        raise _DamagedError("of another training") from error


def _read(path: Path, epoch: int) -> dict[str, Any]:
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        size, sha256 = manifest["size"], manifest["sha256"]
        if manifest["epoch"] != epoch:
            raise _DamagedError("manifest")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _DamagedError("manifest") from error
    try:
        if (path / "state.pt").stat().st_size != size:
            raise _DamagedError("size")
        data = (path / "state.pt").read_bytes()
    except OSError as error:
        raise _DamagedError("missing file") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _DamagedError("sha256")
    try:
        return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _DamagedError("refused: more than tensors and plain values") from error


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Returns (epoch, path), newest first."""
    if not folder.is_dir():
        return []
    matches = ((re.fullmatch(r"epoch-(\d{4,9})", path.name), path) for path in folder.iterdir())
    return sorted(((int(match[1]), path) for match, path in matches if match), reverse=True)


def _remove_unfinished(folder: Path) -> None:
    for path in folder.glob(f"{_TEMPORARY}*"):
        remove(path)
