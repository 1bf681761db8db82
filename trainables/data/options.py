"""The options of a table and of an image folder; imports very little, so that a mistake is answered at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from trainables.data.names import clean_name

Task = Literal["classification", "regression"]
Kind = Literal["number", "category", "text"]
Resize = Literal["letterbox", "crop", "stretch"]
Background = Literal["white", "black", "ignore"]
MIN_SIDE, MAX_SIDE = 8, 512
"""Least and largest side of a square, in pixels."""


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """The options of a table of the user's own, as stated or as completed after reading it."""

    target: str
    """Name of the column to predict."""
    task: Task | None = None
    """Detected from the target when None."""
    drop: tuple[str, ...] = ()
    """Names of columns that are not inputs."""
    types: Mapping[str, Kind] = field(default_factory=dict)
    """Types of columns; those of other columns are detected from the file."""

    def __post_init__(self) -> None:
        for name, kind in self.types.items():
            if kind not in get_args(Kind):
                raise ValueError(f"a column must be a number, a category or text, got {str(kind)[:40]!r} for {name!r}")
        object.__setattr__(self, "target", clean_name(self.target))
        object.__setattr__(self, "drop", tuple(map(clean_name, self.drop)))
        object.__setattr__(self, "types", {clean_name(name): kind for name, kind in self.types.items()})


@dataclass(frozen=True, kw_only=True)
class BackboneFile:
    """The file of a pretrained network, as stated or as completed after reading it."""

    path: str
    architecture: str = ""
    """Its name in torchvision; found from the names of the weights when empty."""
    sha256: str = ""
    """Of the file; not checked when empty."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How the images of a folder become squares of one size, as stated or as completed after reading the folder."""

    size: int | None = None
    """Side of the squares in pixels; chosen from the images when None."""
    resize: Resize | None = None
    """letterbox pads the shorter side, crop cuts the longer side off, stretch changes the aspect ratio; chosen from the
    aspect ratios when None."""
    background: Background | None = None
    """What is behind transparent pixels: a colour, or `ignore` for the colour that the file states there; chosen from
    the visible pixels when None."""
    backbone: BackboneFile | None = None
    """The pretrained network that configurations can use."""

    def __post_init__(self) -> None:
        if self.size is not None and not MIN_SIDE <= self.size <= MAX_SIDE:
            raise ValueError(f"--image-size must lie in [{MIN_SIDE}, {MAX_SIDE}], got {self.size}")
        for name, choices in (("resize", get_args(Resize)), ("background", get_args(Background))):
            if getattr(self, name) not in (None, *choices):
                raise ValueError(f"--{name} must be one of {', '.join(choices)}, got {str(getattr(self, name))[:40]!r}")

    @property
    def sentence(self) -> str:
        """How images became squares, in a sentence for a report."""
        how = {"letterbox": "padded to", "crop": "cropped to their middle and resized to", "stretch": "stretched to"}
        behind = "" if self.background in (None, "ignore") else f"; transparent pixels show {self.background}"
        return f"Images are {how[self.resize or 'letterbox']} squares of {self.size} x {self.size} pixels{behind}."


STRETCHED = ImageOptions(resize="stretch", background="ignore")
"""The rule of runs that state none, which are of an earlier release."""
