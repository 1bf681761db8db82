"""A folder whose files are part of a checkpoint, for frameworks that write checkpoints of their own.

The files are stored inside the state, under the same checksum, so that none is missing or incomplete.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from trainables.trainable import StateError

MAX_BYTES = 8 << 30


class WorkFolder:
    """A temporary folder, created when it is first used and removed with the training."""

    def __init__(self, scratch: Callable[[], Path] | None) -> None:
        self._scratch = scratch
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """The folder."""
        if self._path is None:
            parent = None if self._scratch is None else self._scratch()
            self._path = Path(tempfile.mkdtemp(prefix="rungwise-own-", dir=parent))
        return self._path

    def read(self) -> dict[str, Tensor]:
        """The bytes of every file, by its path inside the folder.

        Raises:
            StateError: the files are too large for a checkpoint after every epoch.
        """
        if self._path is None:
            return {}
        files = {p.relative_to(self._path).as_posix(): p for p in sorted(self._path.rglob("*")) if p.is_file()}
        total = sum(path.stat().st_size for path in files.values())
        if total > MAX_BYTES:
            raise StateError(
                f"the files in run.folder have {total / 1e9:.1f} GB, more than the {MAX_BYTES / 1e9:.0f} GB that are"
                " saved after an epoch; keep only what the next epoch needs"
            )
        return {name: _bytes(path) for name, path in files.items()}

    def write(self, files: dict[str, Tensor]) -> None:
        """Write these files into the folder.

        Raises:
            StateError: a name leads out of the folder.
        """
        for name, data in files.items():
            parts = PurePosixPath(name).parts
            if not parts or ".." in parts or PurePosixPath(name).is_absolute():
                raise StateError(f"the file {name!r} of the checkpoint is outside run.folder")
            path = self.path.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.numpy().tobytes())

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._path = None


def _bytes(path: Path) -> Tensor:
    data = path.read_bytes()
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.zeros(0, dtype=torch.uint8)
