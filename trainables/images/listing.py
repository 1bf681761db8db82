"""Lists the images of a folder, the files that are left out, and checks that `test/` fits `train/`.

Only names are read, and the first bytes of files with an unknown suffix; in `test/` only names.
"""

import os
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from trainables.data.divide import Division
from trainables.data.kinds import describe_alike
from trainables.data.split import RANDOM, SplitRule
from trainables.images.divisions import divide_images
from trainables.images.file import looks_like_image, readable_suffixes

MIN_PER_CLASS = 3
"""Fewest images of a class: one each for training, validation and test."""
_MOST_NAMED = 4
_NO_IMAGES = frozenset(
    ".bak .cr2 .csv .dcm .db .dng .doc .gz .heic .heif .ini .json .jxl .log .mat .md .mp4 .nef .npy .npz .old .orig"
    " .part .pdf .svg .tmp .txt .url .xml .yaml .yml .zip".split()
)
"""Suffixes of other kinds of files and of backup copies; these files are not used, whatever their first bytes are."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The folders of classes in `train` or `test`, and the files in them."""

    folder: Path
    images: Mapping[str, tuple[Path, ...]]
    """Class -> its images, sorted; empty for a folder without images."""
    left_out: Mapping[str, tuple[str, ...]]
    """Reason, a suffix or words -> paths below the folder that are left out for it."""

    @property
    def files(self) -> list[Path]:
        """All images, class by class."""
        return [path for paths in self.images.values() for path in paths]

    @property
    def labels(self) -> list[str]:
        """The class of each of `files`."""
        return [name for name, paths in self.images.items() for _ in paths]

    def describe(self, name: str | None = None) -> str:
        """What is left out, of one class or of all: `6 .heic (cat/1.heic, ...), 1 hidden (cat/._1.jpg)`."""
        parts = []
        for why, paths in self.left_out.items():
            found = [path for path in paths if name is None or readable_name(path.split("/")[0]) == name]
            if found:
                parts.append(f"{len(found):,} {why} ({shown(found[0])}{', ...' * (len(found) > 1)})")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The content of an image folder, found from names."""

    classes: tuple[str, ...]
    train: Listing
    test: Listing | None
    """None without a folder `test`; then a part of `train` is held out."""
    y: np.ndarray
    """Labels of the files in `train`, int64 (N,)."""
    held_out: np.ndarray
    """Rows of `train` that are the test set; empty if there is a folder `test`."""
    division: Division
    """The rule of the split, with what it goes by for each file in `train`."""
    notes: tuple[str, ...]
    """Notes on what is not used, one line each; `note_left_out` gives those on the test set."""

    @property
    def training(self) -> np.ndarray:
        """Rows of `train` that are no test rows."""
        return np.delete(np.arange(len(self.y)), self.held_out)

    def labels(self, files: Sequence[Path]) -> np.ndarray:
        """The labels of files by the names of their folders, int64 (N,)."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        return np.array([numbers[readable_name(path.parent.name)] for path in files], np.int64)


def survey(data_dir: Path, rule: SplitRule = RANDOM) -> Survey:
    """The images of a folder, with the test set that the rule chooses; no file of the test set is opened.

    Raises:
        ValueError: no such folders, too few classes or images, a class without images, or a test set with other
            classes.
    """
    train = list_images(data_dir / "train", look=True)
    _check_classes(train)
    classes = tuple(name for name, paths in train.images.items() if paths)
    y = np.array([classes.index(name) for name in train.labels], np.int64)
    test = list_images(data_dir / "test", look=False) if (data_dir / "test").is_dir() else None
    if test is not None:
        check_test(test, classes)
    size = 0 if test is not None else max(round(0.15 * len(y)), len(classes))
    division, matched = divide_images(rule, data_dir, train.files, apart=test is not None)
    return Survey(
        classes=classes,
        train=train,
        test=test,
        y=y,
        held_out=division.test_rows(y, size, classes) if size else np.arange(0),
        division=division,
        notes=(
            *describe_alike(classes, "classes"),
            *note_left_out(train),
            *_note_unused(data_dir, apart=test is not None),
            *matched,
        ),
    )


def list_images(folder: Path, *, look: bool) -> Listing:
    """The images in the class folders of a folder; linked ones count, hidden ones and deeper folders do not.

    Args:
        folder: contains one folder for each class.
        look: open files with an unknown suffix; otherwise they count as images.

    Raises:
        ValueError: there is no such folder, or two names differ only in their Unicode form.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{shown(folder)} is not a folder; images are expected as {shown(folder)}/CLASS/FILE{_way_out(folder)}"
        )
    images: dict[str, tuple[Path, ...]] = {}
    left_out: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            _leave_out(path, folder, left_out, why="next to the class folders")
        elif not path.name.startswith("."):
            name = readable_name(path.name)
            if name in images:
                raise ValueError(
                    f"{shown(folder)} has two folders named {name!r}, which differ only in their Unicode form; put "
                    f"their images into one folder"
                )
            images[name] = tuple(_images_in(path, left_out, look=look))
        else:
            _leave_out_below(path, folder, left_out, why="in hidden folders")
    return Listing(folder=folder, images=images, left_out={why: tuple(found) for why, found in left_out.items()})


def _way_out(folder: Path) -> str:
    """A hint if the class folders seem to be next to `train` instead of in it; empty if they are not."""
    outer = folder.parent
    if not outer.is_dir():
        return ""
    found = [path.name for path in sorted(outer.iterdir()) if path.is_dir() and any(_may_be_images(path))]
    if len(found) < 2:
        return ""
    if outer.name == folder.name:
        return f"; give the folder above: --data-dir {shlex.quote(shown(outer.parent))}"
    named = ", ".join(map(shown, found[:_MOST_NAMED])) + ", ..." * (len(found) > _MOST_NAMED)
    return f"; if the folders in {shown(outer)} ({named}) are the classes, move them into {shown(folder)}"


def _may_be_images(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix.lower() in readable_suffixes())


def check_test(test: Listing, classes: Sequence[str]) -> None:
    """Raise ValueError unless the test set has images of exactly these classes."""
    folder = shown(test.folder)
    strange = [name for name, paths in test.images.items() if paths and name not in classes]
    if strange:
        near = get_close_matches(strange[0], classes, n=1)
        hint = f" (is it {near[0]!r}?)" if near else ""
        raise ValueError(
            f"{folder} has a class {strange[0]!r} that train/ does not have{hint}; the classes must be the same"
        )
    lacking = [name for name in classes if not test.images.get(name)]
    way_out = "or remove the folder test/; then 15 % of train/ are held out as the test set"
    if len(lacking) == len(classes):
        left_out = test.describe()
        raise ValueError(
            f"{folder} contains no images{f' that can be used: {left_out}' if left_out else ''}; "
            f"put them into {folder}/CLASS, {way_out}"
        )
    if lacking:
        raise ValueError(
            f"{folder} contains no image of {_names(lacking)}, which train/ has; the classes must be the same:"
            f" add some, {way_out}"
        )


def note_left_out(listing: Listing) -> list[str]:
    """A note on the files that are not used, and one on folders without files."""
    name = listing.folder.name
    notes = [f"left out of {name}/: {listing.describe()}"] if listing.left_out else []
    empty = [one for one, paths in listing.images.items() if not paths]
    return [*notes, f"empty folders in {name}/ are not classes: {_names(empty)}"] if empty else notes


def readable_name(name: str) -> str:
    """A name as text that can be stored anywhere: composed (NFC), with bytes that are not UTF-8 as `\\xe9`."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def shown(path: Path | str) -> str:
    """A path that can be printed: without control characters, and with bytes that are not UTF-8 as `\\xe9`."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _images_in(folder: Path, left_out: dict[str, list[str]], *, look: bool) -> list[Path]:
    images = []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            _leave_out_below(path, folder.parent, left_out, why="in deeper folders")
        elif path.name.startswith("."):
            _leave_out(path, folder.parent, left_out, why="hidden")
        elif _is_image(path, look=look):
            images.append(path)
        else:
            _leave_out(path, folder.parent, left_out)
    return images


def _is_image(path: Path, *, look: bool) -> bool:
    """Whether a file is an image; a broken link counts by its suffix, so that the error when it is read names it."""
    if path.exists() and not path.is_file():
        return False  # a pipe or a device, from which reading would wait
    suffix = path.suffix.lower()
    if suffix in readable_suffixes():
        return True
    return suffix not in _NO_IMAGES and (not look or looks_like_image(path))


def _leave_out_below(path: Path, folder: Path, left_out: dict[str, list[str]], *, why: str) -> None:
    for deeper, _, names in os.walk(path):
        for name in sorted(names):
            _leave_out(Path(deeper, name), folder, left_out, why=why)


def _leave_out(path: Path, folder: Path, left_out: dict[str, list[str]], *, why: str = "") -> None:
    """Note a file that is not used; hidden ones only if they are named like images."""
    if path.name.startswith(".") and path.suffix.lower() not in readable_suffixes():
        return
    if not why:
        suffix = shown(path.suffix.lower())
        why = "without a suffix" if not suffix else suffix if path.is_file() else "that are not regular files"
    left_out[why].append(str(path.relative_to(folder)))


def _check_classes(train: Listing) -> None:
    """Raise ValueError unless there are two classes with enough images each; empty folders do not count as classes."""
    folder = shown(train.folder)
    for name in [name for name, paths in train.images.items() if not paths]:
        left_out = train.describe(name)
        if left_out:
            raise ValueError(
                f"{folder}/{shown(name)} contains no image that can be used, only {left_out}; convert them to PNG"
                f" or JPEG and put them into {folder}/{shown(name)} itself, or move that folder out of train/"
            )
    counts = Counter(train.labels)
    if len(counts) < 2:
        raise ValueError(f"{folder} must contain images in at least 2 classes (folders), got {len(counts)}")
    name, count = min(counts.items(), key=lambda item: item[1])
    if count < MIN_PER_CLASS:
        raise ValueError(f"every class needs at least {MIN_PER_CLASS} images in train/, got {count} in {name!r}")


def _note_unused(data_dir: Path, *, apart: bool) -> list[str]:
    known = {"train", "test"} if apart else {"train"}
    others = sorted(p.name for p in data_dir.iterdir() if p.is_dir() and not p.name.startswith("."))
    unused = [shown(name) for name in others if name not in known]
    return [f"not used, because only train/ and test/ are read: {_names(unused, mark='/')}"] if unused else []


def _names(names: Sequence[str], *, mark: str = "") -> str:
    few = ", ".join(f"{name}{mark}" if mark else repr(name) for name in names[:3])
    return f"{few}, ..." if len(names) > 3 else few
