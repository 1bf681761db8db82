"""Names the classes of images, or predicts the rows of a table, with the winner of a run.

python -m analysis.predict runs/NAME image.png ...
python -m analysis.predict runs/NAME image.png --json | jq .
python -m analysis.predict runs/NAME rows.csv --output predicted.csv
"""

import io
import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro

from analysis.model.files import STDIN, exported_folder
from search.process.arguments import (
    DONE,
    NOTHING_USABLE,
    SOME_FAILED,
    Flag,
    OptionalStr,
    command,
    parse,
    report_error,
    run_command,
)
from search.process.text import counted, printable

if TYPE_CHECKING:
    from analysis.model.load import Model
    from analysis.model.tables import TableAnswers
    from trainables.data.grey_levels import Levels
    from trainables.data.options import ImageOptions
    from trainables.images.file import Header


@dataclass(frozen=True, kw_only=True)
class Options:
    """Predict with the exported model of a run."""

    run: tyro.conf.Positional[Path]
    """Folder of the run, or its subfolder `final`."""
    files: tyro.conf.Positional[tuple[str, ...]]
    """Images to classify, or CSV files with rows to predict; - reads from standard input."""
    top: int = 3
    """Number of classes to print for each image or row."""
    json: Flag = False
    """Print one JSON object per image or row, with all probabilities."""
    output: OptionalStr = None
    """Write the rows of the CSV file and their predictions to this file instead of printing them."""
    debug: Flag = False
    """Show tracebacks."""

    def check(self) -> None:
        """Raise ValueError at the first option that makes no sense."""
        if self.top < 1:
            raise ValueError(f"--top must be at least 1, got {self.top}")
        if not self.files:
            program = command("analysis.predict")
            raise ValueError(f"give at least one file: {program} RUN image.png ..., or {program} RUN rows.csv")
        if self.output is not None and len(self.files) != 1:
            raise ValueError(f"--output takes one input file, got {len(self.files)}")


@dataclass(frozen=True, kw_only=True)
class ImageAnswer:
    """The prediction for one image."""

    file: str
    notes: tuple[str, ...]
    """How the image was changed to fit the model."""
    probabilities: dict[str, float]
    """By class, the most likely first."""

    def as_json(self) -> str:
        """A JSON object in one line."""
        best = next(iter(self.probabilities))
        return json.dumps(
            {"file": self.file, "class": best, "probabilities": self.probabilities, "notes": list(self.notes)}
        )


def main(argv: list[str] | None = None) -> int:
    """The command.

    Returns:
        0 done; 2 bad input or a damaged model; 3 some files could not be read; 4 none could.
    """
    argv = sys.argv[1:] if argv is None else argv
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
    if options.output is not None:
        if not model.columns:
            raise ValueError("--output is for CSV files, but this model reads images; leave it out")
        _check_output(options.files[0], Path(options.output))
    answers, failed = _answer_tables(model, options.files) if model.columns else classify(model, options.files)
    for cause in failed:
        print(f"error: {printable(cause)}", file=sys.stderr)
    for answer in answers:
        for note in answer.notes:
            print(f"note: {printable(answer.file)}: {printable(note)}", file=sys.stderr)
    if not answers:
        return NOTHING_USABLE
    _show(answers, options)
    return SOME_FAILED if failed else DONE


def _check_output(source: str, output: Path) -> None:
    """Raise ValueError unless the predictions can be written, and beside the file that they are of."""
    if source != STDIN and output.exists() and output.resolve() == Path(source).resolve():
        raise ValueError(f"--output must not be one of the input files, got {str(output)!r}")
    if output.is_dir():
        raise ValueError(f"--output must be a file, {str(output)!r} is a folder")
    if not output.parent.is_dir():
        raise ValueError(f"--output {str(output)!r} cannot be written: there is no folder {str(output.parent)!r}")


def _answer_tables(model: "Model", files: Sequence[str]) -> "tuple[list[TableAnswers], list[str]]":
    """The answers for the files that can be read, and one line for each that cannot."""
    from analysis.model.tables import answer_table

    answers, failed = [], []
    for file in files:
        try:
            answers.append(answer_table(model, file))
        except (OSError, ValueError) as error:
            failed.append(str(error))
    return answers, failed


def _show(answers: "Sequence[ImageAnswer] | Sequence[TableAnswers]", options: Options) -> None:
    images = [answer for answer in answers if isinstance(answer, ImageAnswer)]
    tables = [answer for answer in answers if not isinstance(answer, ImageAnswer)]
    if options.output is not None:
        tables[0].write(Path(options.output))
        text = f"{counted(len(tables[0].outputs), 'row')} with predictions written to {options.output}"
    elif options.json:
        text = "\n".join(answer.as_json() for answer in answers)
    elif images:
        text = table(images, top=options.top)
    else:
        lines = "\n".join(answer.table(top=options.top) for answer in tables).split("\n")
        text = "\n".join(map(printable, lines))
    print(text, flush=True)


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
    from trainables.data.options import STRETCHED
    from trainables.images import file as image_file

    (channels, height, width), form = shape, form or STRETCHED
    source = io.BytesIO(sys.stdin.buffer.read()) if file == STDIN else file
    with image_file.quiet():
        pixels, header = image_file.read_image(
            source, size=(height, width), grey=channels == 1, levels=levels, form=form
        )
    return pixels.transpose(2, 0, 1).copy(), _changes(header, shape, levels, form)


def _changes(
    header: "Header", shape: tuple[int, ...], levels: "Sequence[Levels]", form: "ImageOptions"
) -> tuple[str, ...]:
    """A line for each change of size or colours that made this image one of the model."""
    from trainables.images.file import levels_for

    channels, height, width = shape
    notes = []
    if header.sequence:
        notes.append("it has several frames; the first one is used")
    if header.grey != (channels == 1):
        notes.append(
            "a colour image was converted to grey" if channels == 1 else ("a grey image was converted to colour")
        )
    if header.kind in ("integer", "float"):
        used = levels_for(header, levels)
        notes.append(f"values from {used.low:,.6g} (black) to {used.high:,.6g} (white) became 0 to 255")
    if (header.width, header.height) != (width, height):
        how = {"letterbox": "padded to a square and ", "crop": "cropped to its middle and "}
        done = how.get(form.resize or "", "") if header.width != header.height else ""
        notes.append(f"{done}resized from {header.width}x{header.height} to {width}x{height}")
    if header.transparent and form.background != "ignore":
        notes.append(f"transparent pixels show {form.background}")
    return tuple(notes)


def table(answers: Sequence[ImageAnswer], *, top: int) -> str:
    """The answers as aligned columns: the file, then its most probable classes."""
    rows: list[tuple[Any, ...]] = [
        (printable(answer.file), *(f"{printable(name)} {100 * p:.1f} %" for name, p in _top(answer, top)))
        for answer in answers
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _top(answer: ImageAnswer, count: int) -> list[tuple[str, float]]:
    return list(answer.probabilities.items())[:count]


if __name__ == "__main__":
    run_command(main)
