"""Reads a folder of the user's own images: `train/CLASS/*`, and `test/CLASS/*` if there is one.

Images are decoded once, padded or cropped to squares of one size, and stored in a cache, which is used while the folder
has the same files and the checksum of the cache is right. Without `test/`, a fixed 15 % of each class is the test set.
Size, form, channels, background and the levels of deep images depend only on the training images.
"""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from trainables.data.grey_levels import Levels, as_stored, choose_levels, levels_from
from trainables.data.options import MIN_SIDE, STRETCHED, Background, ImageOptions
from trainables.data.split import RANDOM, SplitRule
from trainables.images import cache as image_cache
from trainables.images.copies import note_copied_files
from trainables.images.damage import seems_cut
from trainables.images.divisions import divide_test
from trainables.images.file import (
    Header,
    decode_only,
    levels_for,
    quiet,
    read_brightness,
    read_header,
    read_image,
    read_values,
)
from trainables.images.fit import check_memory, choose_background, choose_resize, choose_side, describe
from trainables.images.listing import Listing, Survey, check_test, list_images, note_left_out, shown, survey
from trainables.images.rows import ImageRows
from trainables.images.unreadable import describe_unreadable

_DARK = 64
"""16-bit images whose upper bytes are all below this have at most 14 bits."""
_ENOUGH = 300
"""Transparent images that are decoded to choose a background."""
_LEAST = {False: MIN_SIDE, True: 64}
"""Smallest side that is chosen, without a backbone and with one: most backbones halve the side five times."""
_logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Format:
    """What the training images of a folder decide for all its images."""

    images: ImageOptions
    """Completed."""
    grey: bool
    levels: tuple[Levels, ...]
    notes: tuple[str, ...]

    @property
    def side(self) -> int:
        """Of the squares, in pixels."""
        assert self.images.size is not None
        return self.images.size


def read(data_dir: Path, *, test: bool, images: ImageOptions | None = None, rule: SplitRule = RANDOM) -> ImageRows:
    """Images uint8 (N, S, S, C) with labels; C is 1 if every training image is grey.

    Args:
        data_dir: contains `train` and perhaps `test`; if both exist, only the part that is asked for is opened.
        test: return the test rows instead of those for training and validation.
        images: how the images become squares; what is not stated is chosen from the training images. None is the rule
            of earlier releases: stretched to at most 64 pixels, transparency ignored.
        rule: how the test images are chosen where there is no folder `test`.

    Raises:
        ValueError: no such folders, too few classes or images, images that cannot be read, or a folder `test` whose
            classes are not those of `train`.
    """
    found = survey(data_dir, rule)
    form = _format(data_dir, found, images or STRETCHED)
    if test and found.test is not None:
        files = _list_test(found).files
        y, rows = found.labels(files), np.arange(len(files))
    else:
        files, y, rows = found.train.files, found.y, found.held_out if test else found.training
    check_memory(form.side, len(files), 1 if form.grey else 3)
    key = image_cache.key_of(data_dir, files, replace(form.images, backbone=None), form.grey, form.levels)
    x = image_cache.array(data_dir, key, partial(_decode, data_dir, files, form))
    return ImageRows(
        x=x if len(rows) == len(x) else x[rows],
        y=y[rows],
        classes=found.classes,
        files=tuple(shown(files[row].relative_to(data_dir)) for row in rows),
        levels=form.levels,
        division=divide_test(rule, files) if test and found.test is not None else found.division.take(rows),
        apart=found.test is not None,
        notes=(*found.notes, *form.notes),
        form=form.images,
    )


def check_test_files(data_dir: Path, images: ImageOptions | None = None, rule: SplitRule = RANDOM) -> tuple[str, ...]:
    """Notes for the user on the test set, from headers and checksums; no pixels are kept.

    Args:
        images: as in `read`.

    Raises:
        ValueError: as `read`; or test images have unreadable headers, or modes that no training image has.
    """
    found = survey(data_dir, rule)
    form = _format(data_dir, found, images or STRETCHED)
    train = found.train.files
    if found.test is None:
        test = [train[row] for row in found.held_out]
        return note_copied_files(data_dir, test, [train[row] for row in found.training])
    listing = _list_test(found)
    test = listing.files
    headers = _each(data_dir, test, partial(_check_header, levels=form.levels))
    return (
        *note_left_out(listing),
        *_describe(data_dir, test, headers, form.images.background, what="an alpha channel"),
        *note_copied_files(data_dir, test, train),
    )


def _list_test(found: Survey) -> Listing:
    """The images of the folder `test`, whose files may be opened here."""
    assert found.test is not None
    test = list_images(found.test.folder, look=True)
    check_test(test, found.classes)
    return test


def _format(data_dir: Path, found: Survey, images: ImageOptions) -> Format:
    """What the training images decide, from the cache if it was computed from the same files."""
    rule = found.division.rule
    drawn = () if rule.is_random else (rule.option, found.held_out.tolist())
    key = image_cache.key_of(data_dir, found.train.files, images, found.test is None, *drawn)
    facts = image_cache.facts(data_dir, key, partial(_settle_format, data_dir, found, images))
    chosen = replace(images, **{name: facts[name] for name in ("size", "resize", "background")})
    return Format(images=chosen, grey=facts["grey"], levels=levels_from(facts["levels"]), notes=tuple(facts["notes"]))


def _settle_format(data_dir: Path, found: Survey, stated: ImageOptions) -> dict[str, Any]:
    """Size and channels from all headers, levels and background from the pixels of the rows that are no test rows."""
    files = found.train.files
    try:
        headers = _each(data_dir, files, partial(read_header, look=True))
    except ValueError:
        _each(data_dir, files, decode_only)  # also reports files of which only the header can be read
        raise
    mine = [(files[row], headers[row]) for row in found.training]
    levels = _choose_levels(data_dir, [path for path, _ in mine], [header for _, header in mine])
    grey = all(header.grey for header in headers)
    resize = stated.resize or choose_resize(headers)
    chosen = replace(
        stated,
        size=stated.size
        or choose_side(headers, resize, channels=1 if grey else 3, least=_LEAST[bool(stated.backbone)]),
        resize=resize,
        background=stated.background or _choose_background(data_dir, mine),
    )
    described = [
        f"{one.kind} images: values from {one.low:,.6g} (black) to {one.high:,.6g} (white) become 0 to 255, also in "
        f"test images and predictions"
        for one in levels
    ]
    shown = [] if stated == replace(STRETCHED, size=stated.size) else [describe(headers, chosen, stated=stated)]
    return {
        **{name: getattr(chosen, name) for name in ("size", "resize", "background")},
        "grey": grey,
        "levels": as_stored(levels),
        "notes": [*shown, *described, *_describe(data_dir, files, headers, chosen.background)],
    }


def _choose_background(data_dir: Path, images: Sequence[tuple[Path, Header]]) -> Background:
    """From up to a few hundred of the transparent images."""
    transparent = [path for path, header in images if header.transparent and not header.kind]
    return choose_background(_each(data_dir, transparent[:: -(-len(transparent) // _ENOUGH) or 1], read_brightness))


def _choose_levels(data_dir: Path, files: Sequence[Path], headers: Sequence[Header]) -> tuple[Levels, ...]:
    levels = []
    for kind in ("integer", "float", "colour"):
        deep = [path for path, header in zip(files, headers, strict=True) if header.kind == kind]
        if not deep:
            continue
        extents = _each(data_dir, deep, _extent)
        low, high = min(low for low, _ in extents), max(high for _, high in extents)
        if kind != "colour":
            levels.append(choose_levels(kind, low, high, alone=len(deep) == len(files)))
        elif high < _DARK:
            raise ValueError(
                f"{len(deep):,} colour images with 16 bits per channel, such as {shown(deep[0])}, use {high + 1:.0f} "
                f"of the 256 levels that are read from them (their upper 8 bits), as images of 10- to 14-bit cameras "
                f"do; scale them to 16 bits, or save them with 8 bits per channel"
            )
    return tuple(levels)


def _extent(path: Path) -> tuple[float, float]:
    values = read_values(path)
    return values.min().item(), values.max().item()


def _check_header(path: Path, *, levels: Sequence[Levels]) -> Header:
    """The header of a test image; one that seems to be cut off is decoded to be sure, and its pixels are discarded."""
    header = read_header(path)
    if seems_cut(path):
        decode_only(path)
    if header.kind in ("integer", "float"):
        levels_for(header, levels)
    return header


def _describe(
    data_dir: Path,
    files: Sequence[Path],
    headers: Sequence[Header],
    background: Background | None,
    *,
    what: str = "transparency",
) -> list[str]:
    """A note for each kind of content in the files that is not used as it is.

    Args:
        what: what `transparent` of these headers means: test images are not decoded to see it.
    """
    behind = "which is ignored" if background == "ignore" else f"which is shown over {background}"
    said = {
        "several frames; the first one is used": [header.sequence for header in headers],
        f"{what}, {behind}": [header.transparent for header in headers],
    }
    notes = []
    for content, flags in said.items():
        found = [path for path, flag in zip(files, flags, strict=True) if flag]
        if found:
            example = shown(found[0].relative_to(data_dir))
            notes.append(f"{len(found):,} image{'s have' if len(found) > 1 else ' has'} {content} ({example})")
    return notes


def _decode(data_dir: Path, files: Sequence[Path], form: Format) -> np.ndarray:
    _logger.info("decoding %d images", len(files))
    facts = {"size": (form.side, form.side), "grey": form.grey, "levels": form.levels, "form": form.images}
    return np.stack(_each(data_dir, files, lambda path: read_image(path, **facts)[0]))


def _each(data_dir: Path, files: Sequence[Path], function: Callable[[Path], T]) -> list[T]:
    """What the function returns for each file, computed in threads.

    Raises:
        ValueError: it failed for some files, which the message counts and lists.
    """

    def attempt(path: Path) -> T | str:
        try:
            return function(path)
        except (OSError, ValueError) as error:
            return (isinstance(error, OSError) and error.strerror) or str(error)

    with quiet(), ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter lock
        results = list(pool.map(attempt, files))
    bad = {path: result for path, result in zip(files, results, strict=True) if isinstance(result, str)}
    if bad:
        raise ValueError(describe_unreadable(data_dir, bad, of=len(files)))
    return [result for result in results if not isinstance(result, str)]
