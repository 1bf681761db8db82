"""What was changed in an image so that it fits the model, in words."""

from collections.abc import Sequence

from trainables.data.grey_levels import Levels
from trainables.data.options import ImageOptions
from trainables.images.file import Header, levels_for


def changes(header: Header, shape: tuple[int, ...], levels: Sequence[Levels], form: ImageOptions) -> tuple[str, ...]:
    """A line for each change of size or colours that made this image one of the model."""
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
