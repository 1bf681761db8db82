"""Names the classes of images, or predicts the rows of a table, with the winner of a run.

python -m analysis.predict runs/NAME image.png ...
python -m analysis.predict runs/NAME image.png --json | jq .
python -m analysis.predict runs/NAME rows.csv --out predicted.csv

Rows and images are read, predicted and written in blocks, so a file of millions of rows needs little memory.
"""

import io
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

from analysis.model.files import STDIN, exported_folder
from analysis.model.image_answers import FIXED, ImageAnswer, ImageNotes, columns, table
from analysis.model.output import check_added, check_output, check_single, say_error, say_notes, writer_to
from search.process.arguments import (
    BAD_INPUT,
    DONE,
    Flag,
    OptionalFloat,
    OptionalStr,
    answering_errors,
    command,
    parse,
    report_error,
    run_command,
)
from search.process.silence import doing
from search.process.text import counted, printable

if TYPE_CHECKING:
    from analysis.model.conformal import Interval
    from analysis.model.load import Model
    from analysis.model.tables import TablePredictor
    from trainables.data.grey_levels import Levels
    from trainables.data.options import ImageOptions

TABLES = (".csv", ".tsv", ".parquet")
IMAGES = 512
"""Images that are held at once."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Predict with the exported model of a run."""

    run: tyro.conf.Positional[Path]
    """Folder of the run, or its subfolder `final`."""
    files: tyro.conf.Positional[tuple[str, ...]]
    """Images to classify, or CSV or Parquet files with rows to predict; - reads from standard input."""
    top: int = 3
    """Number of classes to print for each image or row."""
    json: Flag = False
    """Print one JSON object per image or row, with all probabilities."""
    out: OptionalStr = None
    """Write the rows of the file, or the names of the images, with their predictions to this file instead of printing
    them: CSV, or Parquet if its name ends in .parquet."""
    probabilities: Flag = False
    """Print the probability of every class; with --out, name their columns as the classes."""
    ensemble: Flag = False
    """Use the mean prediction of the ensemble that `final --ensemble` exported."""
    interval: OptionalFloat = None
    """Add the interval that holds the target of a new row with this probability, such as 0.95 (numbers only)."""
    debug: Flag = False
    """Show tracebacks."""

    def check(self) -> None:
        """Raise ValueError at the first option that makes no sense."""
        if self.top < 1:
            raise ValueError(f"--top must be at least 1, got {self.top}")
        if self.interval is not None and not 0 < self.interval < 1:
            more = f"; for {self.interval:g} %: {self.interval / 100:g}" if 1 <= self.interval < 100 else ""
            raise ValueError(f"--interval must lie in (0, 1), got {self.interval:g}{more}")
        if self.ensemble and self.interval is not None:
            raise ValueError("--interval is that of the exported network, not of the ensemble; leave one of them out")
        if not self.files:
            program = command("analysis.predict")
            raise ValueError(f"give at least one file: {program} RUN image.png ..., or {program} RUN rows.csv")
        if self.out is not None and any(Path(file).suffix.lower() in TABLES for file in self.files):
            check_single(self.files)


@answering_errors
def main(argv: list[str]) -> int:
    """The command.

    Returns:
        0 done; 2 bad input or a damaged model: a file could not be read, and the others are predicted.
    """
    try:
        options = parse(Options, argv, prog=command("analysis.predict"))
        options.check()
        return _predict(options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough: not an error
        return DONE
    except (ValueError, OSError) as error:
        if "--debug" in argv:
            raise
        return report_error(error)


def _predict(options: Options) -> int:
    exported_folder(options.run)

    from analysis.model.load import load_model

    model = load_model(options.run)
    if options.ensemble:
        from analysis.model.ensemble import load_ensemble

        model = load_ensemble(model, exported_folder(options.run))
    if options.out is not None:
        check_output(options.files, Path(options.out), is_table=bool(model.columns))
    if options.probabilities and not model.classes:
        raise ValueError("--probabilities is for classes, but this model predicts numbers; leave it out")
    interval = _read_interval(model, options) if options.interval is not None else None
    if options.probabilities and options.out is not None and not model.columns:
        check_added(FIXED, model.classes, way="leave --probabilities out")
    failed = _predict_tables(model, options, interval) if model.columns else _predict_images(model, options)
    return BAD_INPUT if failed else DONE


def _read_interval(model: "Model", options: Options) -> "Interval":
    """The interval that --interval asks for.

    Raises:
        ValueError: the model has none, or too few held-out rows for this level.
    """
    from analysis.model.conformal import Interval, read

    assert options.interval is not None
    interval = Interval(conformal=read(exported_folder(options.run), model.facts), level=options.interval)
    interval.conformal.check(interval.level)
    return interval


def _predict_tables(model: "Model", options: Options, interval: "Interval | None") -> int:
    """Predict all files; returns how many could not be read."""
    from analysis.model.tables import TablePredictor
    from trainables.sources.stream import open_rows

    failed = 0
    for file in options.files:
        with ExitStack() as stack:
            try:
                with doing(f"reading {file}"):
                    predictor = TablePredictor(model, file, stack.enter_context(open_rows(file)), interval)
            except (OSError, ValueError) as error:
                say_error(str(error))
                failed += 1
            else:
                _predict_table(predictor, options)
    return failed


def _predict_table(predictor: "TablePredictor", options: Options) -> None:
    """Print or write the predictions of one file."""
    from analysis.model.tables import added_names

    file, total = predictor.file, predictor.source.num_rows
    classes, by_class = predictor.model.classes, options.probabilities
    if options.out is not None:
        interval = predictor.interval is not None
        added = added_names(predictor.target, classes, interval=interval, names_of_classes=by_class)
        way = f"rename or remove that of {file}" + ", or leave --probabilities out" * by_class
        check_added(predictor.source.names, added, way=way)
    say_notes(file, predictor.notes)
    top = len(classes) if options.probabilities else options.top
    with doing(lambda: f"predicting {file}: {predictor.num_done:,} of {total:,} rows"), ExitStack() as stack:
        writer = stack.enter_context(writer_to(Path(options.out))) if options.out is not None else None
        for answers in predictor.answers():
            if writer is not None:
                writer.write_table(answers, answers.added(names_of_classes=options.probabilities))
            elif options.json:
                print(answers.as_json(), flush=True)
            else:
                print("\n".join(map(printable, answers.table(top=top).split("\n"))), flush=True)
    say_notes(file, predictor.notes_on_cells)
    if writer is not None:
        print(f"{counted(total, 'row')} with predictions written to {options.out}", flush=True)


def _predict_images(model: "Model", options: Options) -> int:
    """Classify all images; returns how many could not be read."""
    done, failed, files, changed = 0, 0, options.files, ImageNotes()
    top = len(model.classes) if options.probabilities else options.top
    with doing(lambda: f"classifying images: {done + failed:,} of {len(files):,}"), ExitStack() as stack:
        writer = None
        for start in range(0, len(files), IMAGES):
            answers, causes = classify(model, files[start : start + IMAGES])
            done, failed = done + len(answers), failed + len(causes)
            for cause in causes:
                say_error(cause)
            changed.add(answers)
            if answers and options.out is not None:
                writer = writer or stack.enter_context(writer_to(Path(options.out)))
                writer.write(columns(answers, model.classes, names_of_classes=options.probabilities))
            elif answers:
                print("\n".join(a.as_json() for a in answers) if options.json else table(answers, top=top), flush=True)
    for images, note in changed.lines:
        say_notes(images, [note])
    if writer is not None:
        print(f"{counted(done, 'image')} with predictions written to {options.out}", flush=True)
    return failed


def classify(model: "Model", files: Sequence[str]) -> tuple[list[ImageAnswer], list[str]]:
    """The answers for the files that can be read, and one line for each that cannot.

    Raises:
        ValueError: the model is not one for images.
    """
    import torch

    if len(model.image_shape) != 3:
        raise ValueError(
            f"the model of space {model.facts['space']!r} predicts rows of {model.image_shape[0]} numbers, not "
            f"images; give a CSV file"
        )
    read: list[tuple[str, np.ndarray, tuple[str, ...]]] = []
    failed: list[str] = []
    for file in files:
        try:
            image, notes = read_image(file, shape=model.image_shape, levels=model.levels, form=model.images)
            read.append((file, image, notes))
        except (OSError, ValueError) as error:
            failed.append(_reason(file, error))
    if not read:
        return [], failed
    found = model.predict(torch.from_numpy(np.stack([image for _, image, _ in read])))
    return [
        ImageAnswer(file=file, notes=notes, probabilities=_ordered(model.classes, row))
        for (file, _, notes), row in zip(read, found, strict=True)
    ], failed


def _ordered(classes: Sequence[str], row: np.ndarray) -> dict[str, float]:
    return dict(sorted(zip(classes, row.tolist(), strict=True), key=lambda item: -item[1]))


def _reason(file: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{file}: there is no such file"
    if isinstance(error, IsADirectoryError):
        return f"{file}: {error.strerror}; give the images in it: {shlex.quote(file)}/*"
    if isinstance(error, OSError):
        return f"{file}: {error.strerror}"
    return f"{file} cannot be read as an image ({error}); give a PNG, JPEG or another common format"


def read_image(
    file: str, *, shape: tuple[int, ...], levels: "Sequence[Levels]" = (), form: "ImageOptions | None" = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The image in the form of the model, and a note on what was changed.

    Args:
        file: its path, or - for the standard input.
        shape: (C, H, W) of the model.
        levels: which values of deep images were black and white in training.
        form: how images became squares in training; None for the rule of earlier releases.

    Returns:
        uint8 (C, H, W), and a line for each change of size or colours.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    from analysis.model.image_changes import changes
    from trainables.data.options import STRETCHED
    from trainables.images import file as image_file

    (channels, height, width), form = shape, form or STRETCHED
    source = io.BytesIO(sys.stdin.buffer.read()) if file == STDIN else file
    with image_file.quiet():
        pixels, header = image_file.read_image(
            source, size=(height, width), grey=channels == 1, levels=levels, form=form
        )
    return pixels.transpose(2, 0, 1).copy(), changes(header, shape, levels, form)


if __name__ == "__main__":
    run_command(main)
