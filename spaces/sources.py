"""Reads the code of a space of the user's own, to keep it with a run and to notice changes."""

import hashlib
from dataclasses import dataclass

from spaces.origin import MAX_BYTES, Origin, local_files


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The user's own code."""

    files: dict[str, bytes]
    """Path from the root -> content."""
    left_out: tuple[str, ...]
    """Files beyond the limit on size."""

    @property
    def sha256(self) -> str:
        """The sha256 of names and contents."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()


def read_sources(origin: Origin) -> Sources:
    """The file of the space and the modules in its folder that it imports, up to 2 MB in total."""
    files, left_out, total = {}, [], 0
    for path in local_files(origin):
        name, size = path.relative_to(origin.root).as_posix(), path.stat().st_size
        if total + size > MAX_BYTES:
            left_out.append(name)
            continue
        files[name], total = path.read_bytes(), total + size
    return Sources(files=files, left_out=tuple(left_out))
