"""The message on images that stop a search: how many, which, and why, with one sentence for each way out."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from trainables.images import cache as image_cache
from trainables.images.file import TOO_LARGE
from trainables.images.listing import shown

_FEW = 3
"""Files that a message lists."""


def describe_unreadable(data_dir: Path, bad: Mapping[Path, str], *, of: int) -> str:
    """A message that counts the files, lists some with their causes, and names the file that lists all.

    Args:
        data_dir: the folder, whose cache keeps the list of more than a few.
        bad: file -> why it cannot be used.
        of: number of all images.
    """
    large = {path: cause for path, cause in bad.items() if TOO_LARGE in cause}
    broken = {path: cause for path, cause in bad.items() if path not in large}
    said = [
        _sentence(those, of, verb, way)
        for those, verb, way in (
            (broken, "cannot be read", "repair or remove them"),
            (large, "have too many pixels", "shrink or remove them"),
        )
        if those
    ]
    message = "; ".join(said)
    if len(bad) <= _FEW:
        return message
    path = image_cache.cache_folder(data_dir).resolve() / "unreadable.txt"
    lines = [b"\t".join((os.fsencode(one.absolute()), shown(cause).encode())) for one, cause in bad.items()]
    path.write_bytes(b"\n".join(lines) + b"\n")
    listed = shlex.quote(shown(path))
    return (
        f"{message}; {listed} lists all of them with the reasons; to remove them: cut -f1 {listed} | xargs -d '\\n' rm"
    )


def _sentence(bad: Mapping[Path, str], of: int, verb: str, way: str) -> str:
    few = list(bad)[:_FEW]
    names: dict[str, list[str]] = {}
    for path in few:
        names.setdefault(shown(bad[path]), []).append(shown(path.name))
    causes = "; ".join(f"{', '.join(those)}: {cause}" for cause, those in names.items())
    listed = ", ".join(map(shown, few)) + ", ..." * (len(bad) > _FEW)
    return f"{len(bad):,} of {of:,} images {verb}: {listed}; {way} ({causes})"
