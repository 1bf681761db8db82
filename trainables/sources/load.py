"""Data sets as tensors: training and validation rows by `load`, the sealed test rows by `load_test` alone.

The types of the columns of a table are decided on all rows except the test rows; their categories are fitted on the
training rows.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainables.data.architectures import check_side, fixed_side
from trainables.data.backbone import Backbone
from trainables.data.dataset import Dataset, Split, make_split
from trainables.data.divide import Division
from trainables.data.kinds import decide_kinds, describe_cells
from trainables.data.leaks import Rows, describe_leaks
from trainables.data.names import did_you_mean
from trainables.data.options import ImageOptions, Kind, TableOptions
from trainables.data.split import IMAGE_FOLDS, RANDOM, SplitRule, check_split
from trainables.data.table import Table, encode, fit_columns
from trainables.images.copies import note_copied_rows
from trainables.sources.catalogue import FOLDER, check_image_options, check_table_options, find, names
from trainables.sources.draw import Draw
from trainables.sources.images import ImageRows, channel_moments, read_images
from trainables.sources.weights import describe_backbone, read_backbone


def load(
    name: str,
    data_dir: str | Path,
    *,
    seed: int = 0,
    train_size: int | None = None,
    validation_fraction: float = 0.1,
    images: ImageOptions | None = None,
    table: TableOptions | None = None,
    split: SplitRule = RANDOM,
    folds: int | None = 1,
) -> Dataset:
    """Training and validation rows, split stratified by class or as the rule says; test files are never opened.

    Args:
        name: one of `catalogue.names()`.
        data_dir: folder of the files, to which missing ones are downloaded; for `csv` the file itself.
        seed: decides the subset and the split.
        train_size: rows to use, training and validation together; None for all.
        validation_fraction: share of these rows for validation, in [0, 0.5]; with 0 the validation split is empty.
        images: how the images of an `image_folder` become squares; None is the rule of earlier releases.
        table: the target and the columns of a `csv`.
        split: how the rows of a `csv` or an `image_folder` are split.
        folds: in place of one validation split; None for five, of images three, if that split would be small.

    Raises:
        ValueError: unknown name, impossible sizes, or files that are damaged or not the official ones.
        FileNotFoundError: files are missing and cannot be downloaded.
    """
    _check_options(name, images, table)
    check_split(name, split, folds)
    folds = folds if name in ("csv", FOLDER) else 1
    draw = Draw(seed=seed, train_size=train_size, validation_fraction=validation_fraction, folds=folds)
    if _is_table(name):
        return _load_table(name, _read_table(name, data_dir, table, split), options=table, draw=draw)
    backbone, images = (None, images) if images is None else _read_backbone(images)
    source = read_images(name, data_dir, test=False, images=images, rule=split)
    dataset = _load_images(name, source, replace(draw, small_folds=IMAGE_FOLDS))
    notes = (*dataset.notes, *describe_backbone(backbone, images))
    return replace(dataset, backbone=backbone, notes=notes) if backbone else dataset


def _read_backbone(images: ImageOptions) -> tuple[Backbone | None, ImageOptions]:
    """The backbone that the options name, if they do, and the options with what follows from its file."""
    if images.backbone is None:
        return None, images
    backbone, file = read_backbone(images.backbone)
    side = images.size or fixed_side(file.architecture)
    check_side(file.architecture, side)
    return backbone, replace(images, backbone=file, size=side)


def load_test(
    name: str, data_dir: str | Path, *, images: ImageOptions | None = None, like: Dataset | None = None
) -> Split:
    """The test rows; only the final evaluation may call this.

    Args:
        name: one of `catalogue.names()`.
        data_dir: as in `load`.
        images: as in `load`, where there is no `like`.
        like: the training data, whose split chose these rows, and which decide how the rows of a table, or the images
            of a folder, are read.
    """
    rule = RANDOM if like is None else like.split
    if not _is_table(name):
        images = like.images if like else images
        _check_options(name, images, None)
        found = read_images(name, data_dir, test=True, images=images, rule=rule)
        return _sealed(make_split(found.x, found.y), found.division, origin=found.files)
    if like is None:
        raise ValueError(f"the test rows of the table {name!r} are read like its training rows; give them as `like`")
    kinds: dict[str, Kind] = {column.reads: column.reads_as for column in like.columns}
    settled = TableOptions(target=like.target, task=like.task, drop=like.dropped, types=kinds)
    options = settled if name == "csv" else None
    found = _read_table(name, data_dir, options, rule).part(test=True).with_kinds(kinds)
    numbers = () if found.places is None else tuple(found.places[:, 0].tolist())
    return _sealed(make_split(encode(found.cells, like.columns), found.y), found.division, origin=numbers)


def _sealed(rows: Split, division: Division, *, origin: tuple[str, ...] | tuple[int, ...]) -> Split:
    """Test rows with where they come from, and with their groups if the split has groups."""
    return replace(rows, origin=origin, groups=division.groups_of(np.arange(len(rows))))


def _load_images(name: str, found: ImageRows, draw: Draw) -> Dataset:
    x, y = found.x, found.y
    drawn = draw.rows(y, found.classes, found.division)
    kept, held_out = drawn.train, drawn.validation
    mean, std = channel_moments(x, kept)
    copies = note_copied_rows(x, y, found.files, validation=held_out, training=kept) if found.files else ()
    return Dataset(
        name=name,
        task="classification",
        train=make_split(x[kept], y[kept]),
        validation=make_split(x[held_out], y[held_out]),
        classes=found.classes,
        mean=mean,
        std=std,
        checksum=_sha256(x, y, *([] if found.division.keys is None else [found.division.keys])),
        levels=found.levels,
        split=found.division.rule,
        groups=found.division.groups_of(kept, held_out),
        folds=drawn.folds,
        apart=found.apart,
        images=found.form,
        notes=(*found.notes, *drawn.notes, *copies),
    )


def _load_table(name: str, source: Table, *, options: TableOptions | None, draw: Draw) -> Dataset:
    found = source.part(test=False)
    kinds = decide_kinds(found, options.types, dropped=options.drop) if options else decide_kinds(found, {})
    notes = (*source.notes, *describe_cells(source, kinds))
    found = found.with_kinds(kinds)
    drawn = draw.rows(found.y, found.classes, found.division)
    kept, held_out = drawn.train, drawn.validation
    columns = fit_columns(found.cells, drawn.fitted, kinds, dates=found.dates, readings=found.readings)
    x = encode(found.cells, columns)
    if options:
        notes += (
            *drawn.notes,
            *describe_leaks(Rows(table=found, x=x, columns=columns, train=kept, validation=held_out)),
        )
    return Dataset(
        name=name,
        task="classification" if found.classes else "regression",
        train=make_split(x[kept], found.y[kept]),
        validation=make_split(x[held_out], found.y[held_out]),
        classes=found.classes,
        mean=(),
        std=(),
        checksum=found.checksum(),
        columns=columns,
        target=found.target,
        target_unit=found.target_unit,
        split=found.division.rule,
        groups=found.division.groups_of(kept, held_out),
        folds=drawn.folds,
        dropped=options.drop if options else (),
        notes=notes,
    )


def _check_options(name: str, images: ImageOptions | None, table: TableOptions | None) -> None:
    known = names()
    if name not in known:
        hint = did_you_mean(name, known, cutoff=0.4)
        raise ValueError(f"unknown data set {name[:80]!r}; available: {', '.join(known)}{hint}")
    check_image_options(name, images)
    check_table_options(name, table)


def _is_table(name: str) -> bool:
    return name in names() and find(name).read_table is not None


def _read_table(name: str, data_dir: str | Path, options: TableOptions | None, rule: SplitRule) -> Table:
    read = find(name).read_table
    assert read is not None
    return read(Path(data_dir), *([options, rule] if options else []))


def _sha256(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
