"""Images of any shape become squares, and transparent pixels show a colour."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import spaces.space
from analysis import predict
from search.process.arguments import parse
from search.session.options import Options
from search.session.session import Session
from search.storage.run import read_run
from search.storage.study import new_run
from tests.pictures import make_folder
from trainables.data.options import STRETCHED, ImageOptions
from trainables.images import fit
from trainables.images.file import read_image
from trainables.sources.images import check_test_files
from trainables.sources.load import load, load_test

WHITE, GREY = (255, 255, 255), (90, 90, 90)


def sized(*sizes: tuple[int, int]) -> list[SimpleNamespace]:
    return [SimpleNamespace(width=width, height=height) for width, height in sizes]


def disc(width: int, height: int) -> Image.Image:
    """A white disc in the middle of a grey image, as large as fits."""
    y, x = np.mgrid[:height, :width]
    radius = 0.4 * min(width, height)
    inside = (x + 0.5 - width / 2) ** 2 + (y + 0.5 - height / 2) ** 2 < radius**2
    return Image.fromarray(np.where(inside[..., None], WHITE, GREY).astype(np.uint8))


def extent(pixels: np.ndarray) -> tuple[int, int]:
    """Height and width of what is white."""
    rows, columns = np.nonzero(pixels[..., 0] > 170)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


@pytest.mark.parametrize("size", [(120, 40), (40, 120), (60, 50), (64, 64), (200, 33)])
@pytest.mark.parametrize("resize", ["letterbox", "crop"])
def test_a_circle_stays_a_circle(size: tuple[int, int], resize: str) -> None:
    pixels = np.asarray(fit.fitted(disc(*size), (64, 64), resize))  # type: ignore[arg-type]
    height, width = extent(pixels)
    assert pixels.shape == (64, 64, 3)
    assert abs(height - width) <= 2
    shrunk = min(size) / max(size) if resize == "letterbox" else 1.0
    assert height == pytest.approx(0.8 * 64 * shrunk, abs=2)


def test_stretching_makes_an_ellipse_of_a_circle_and_a_square_is_the_same_in_every_way() -> None:
    height, width = extent(np.asarray(fit.fitted(disc(120, 40), (64, 64), "stretch")))
    assert height > 2.5 * width
    ways = [np.asarray(fit.fitted(disc(50, 50), (32, 32), how)) for how in ("letterbox", "crop", "stretch")]  # type: ignore[arg-type]
    assert all(np.array_equal(ways[0], way) for way in ways)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_border_of_a_padded_image_has_the_colour_of_its_edge(mode: str, *, turned: bool) -> None:
    values = np.zeros((10, 40), np.uint8)
    values[:5], values[5:] = 40, 200
    image = Image.fromarray(values.T if turned else values).convert(mode)
    pixels = np.asarray(fit.fitted(image, (40, 40), "letterbox")).reshape(40, 40, -1)
    rows = pixels.transpose(1, 0, 2) if turned else pixels
    assert np.array_equal(np.unique(rows[:15]), [40])
    assert np.array_equal(np.unique(rows[25:]), [200])
    assert np.array_equal(rows[15:25, :, 0], values)


@pytest.mark.parametrize(("size", "side"), [((1000, 1), 16), ((1, 1000), 16), ((3, 2), 64), ((511, 512), 8)])
def test_extreme_shapes_fill_the_square(size: tuple[int, int], side: int) -> None:
    for how in ("letterbox", "crop"):
        pixels = np.asarray(fit.fitted(Image.new("RGB", size, (10, 20, 30)), (side, side), how))  # type: ignore[arg-type]
        assert pixels.shape == (side, side, 3)
        assert np.array_equal(np.unique(pixels.reshape(-1, 3), axis=0), [[10, 20, 30]])


@pytest.mark.parametrize(
    ("sizes", "resize"),
    [
        ([(100, 100)] * 20, "crop"),
        ([(100, 110), (110, 100)] * 10, "crop"),
        ([(100, 110)] * 19 + [(100, 300)], "crop"),
        ([(100, 110)] * 18 + [(100, 300)] * 2, "letterbox"),
        ([(640, 480)] * 20, "letterbox"),
    ],
)
def test_images_are_cropped_only_where_that_takes_little(sizes: list[tuple[int, int]], resize: str) -> None:
    assert fit.choose_resize(sized(*sizes)) == resize


def test_the_side_follows_the_images_up_to_128_pixels_and_the_memory() -> None:
    assert fit.choose_side(sized((40, 28)), "letterbox", channels=3) == 40
    assert fit.choose_side(sized((40, 28)), "crop", channels=3) == 28
    assert fit.choose_side(sized((4000, 3000)), "letterbox", channels=3) == 128
    assert fit.choose_side(sized((4000, 3000)), "stretch", channels=3) == 64  # as in earlier releases
    assert fit.choose_side(sized((3, 2)), "letterbox", channels=1) == 8
    assert fit.choose_side(sized((300, 200)) * 30_000, "letterbox", channels=3) == 96
    assert fit.choose_side(sized((300, 200)) * 60_000, "letterbox", channels=3) == 64
    assert fit.choose_side(sized((300, 200)) * 60_000, "letterbox", channels=1) == 128


def test_more_than_the_memory_of_the_machine_is_refused_with_a_side_that_fits() -> None:
    with pytest.raises(ValueError, match=r"--image-size 512 makes 78,?\d*.* GB of 100,000,000 images.*or less"):
        fit.check_memory(512, 100_000_000, 3)
    fit.check_memory(512, 100, 3)


def test_a_folder_says_how_its_images_become_squares(tmp_path: Path) -> None:
    dataset = load("image_folder", make_folder(tmp_path, size=(40, 60)), images=ImageOptions())
    assert dataset.images == ImageOptions(size=60, resize="letterbox", background="white")
    assert dataset.image_shape == (3, 60, 60)
    assert dataset.notes == (
        "images of 40x60 pixels are padded to 60x60, so that nothing is cut off; --resize crop cuts the longer side "
        "instead",
    )
    cropped = load("image_folder", tmp_path, images=ImageOptions(resize="crop", size=16))
    assert cropped.notes == ("images of 40x60 pixels are cropped to their middle and resized to 16x16",)
    again = load("image_folder", tmp_path, images=dataset.images)
    assert torch.equal(again.train.x, dataset.train.x)
    test = load_test("image_folder", tmp_path, like=cropped)
    assert test.x.shape == (20, 3, 16, 16)


def test_without_a_stated_form_a_folder_is_read_as_in_earlier_releases(tmp_path: Path) -> None:
    make_folder(tmp_path, size=(40, 60))
    dataset = load("image_folder", tmp_path)
    assert dataset.images == replace(STRETCHED, size=40)
    assert dataset.notes == ()
    path = tmp_path / "train" / "cat" / "3.png"
    with Image.open(path) as image:
        expected = np.asarray(image.resize((40, 40), Image.Resampling.BICUBIC))
    assert any(np.array_equal(expected, row) for row in dataset.train.x.permute(0, 2, 3, 1).numpy())


def glyphs(root: Path, ink: tuple[int, int, int], mode: str = "RGBA") -> Path:
    """Crosses and squares of one colour on a transparent background, which is stored as the same colour."""
    for name in ("cross", "square"):
        (root / "train" / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.zeros((20, 20, 4), np.uint8)
            pixels[..., :3] = ink
            pixels[4 + number % 3 : 14, 4:14, 3] = 255
            if name == "cross":
                pixels[6:12, 6:12, 3] = 0
            image = Image.fromarray(pixels)
            if mode == "P":
                image = image.quantize(4)
            elif mode == "LA":
                image = image.convert("LA")
            image.save(root / "train" / name / f"{number}.png")
    return root


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize(("ink", "background"), [((0, 0, 0), "white"), ((255, 255, 255), "black")])
def test_what_is_drawn_on_a_transparent_background_is_seen(tmp_path, ink, background, mode):
    """Their colours alone are all the same: without a background nothing could be learnt."""
    glyphs(tmp_path, ink, mode)
    assert len(load("image_folder", tmp_path).train.x.unique()) == 1
    dataset = load("image_folder", tmp_path, images=ImageOptions())
    assert dataset.images is not None
    assert dataset.images.background == background
    assert dataset.train.x.unique().tolist() == [0, 255]
    assert any(f"transparency, which is shown over {background}" in note for note in dataset.notes)
    path = tmp_path / "train" / "cross" / "0.png"
    pixels, notes = predict.read_image(str(path), shape=dataset.image_shape, form=dataset.images)
    assert any(np.array_equal(pixels, row) for row in dataset.train.x.numpy())
    assert f"transparent pixels show {background}" in notes


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_image_with_an_opaque_alpha_channel_is_not_called_transparent(tmp_path: Path, mode: str) -> None:
    root = glyphs(tmp_path, (0, 0, 0), mode)
    for path in root.rglob("*.png"):
        opaque = Image.open(path).convert(mode)
        opaque.putalpha(255)
        opaque.save(path)
    dataset = load("image_folder", root, images=ImageOptions())
    assert not any("transparency" in note for note in dataset.notes)
    _, notes = predict.read_image(str(path), shape=dataset.image_shape, form=dataset.images)
    assert not any("transparent" in note for note in notes)
    glyphs(tmp_path / "other", (0, 0, 0), mode)
    seen = tmp_path / "other" / "train" / "cross" / "0.png"
    seen.replace(root / "train" / "cross" / "0.png")
    dataset = load("image_folder", root, images=ImageOptions())
    assert any(note.startswith("1 image has transparency, which is shown over white") for note in dataset.notes)


def test_half_transparent_pixels_are_mixed_with_the_background(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(path)
    for background, expected in (("white", (255, 127, 127)), ("black", (128, 0, 0)), ("ignore", (255, 0, 0))):
        form = ImageOptions(size=8, resize="crop", background=background)  # type: ignore[arg-type]
        pixels, _ = read_image(path, size=(8, 8), grey=False, form=form)
        assert np.abs(pixels[0, 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("how", ["letterbox", "crop", "stretch"])
def test_a_prediction_reads_an_image_as_training_did(tmp_path: Path, how: str) -> None:
    root = tmp_path / "images"
    for number in range(8):
        path = root / "train" / ("cat", "dog")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[274] = (1, 6)[number % 2]
        disc(90, 40).save(path, exif=exif)
    form = ImageOptions(size=32, resize=how)  # type: ignore[arg-type]
    dataset = load("image_folder", root, validation_fraction=0, images=form)
    check_test_files("image_folder", root, dataset.images)
    for name in ("cat/0.jpg", "dog/1.jpg"):
        pixels, notes = predict.read_image(str(root / "train" / name), shape=dataset.image_shape, form=dataset.images)
        test = load_test("image_folder", root, like=dataset).x
        assert any(np.array_equal(pixels, row) for row in torch.cat([dataset.train.x, test]).numpy())
        size = "90x40" if "cat" in name else "40x90"
        done = {"letterbox": "padded to a square and ", "crop": "cropped to its middle and ", "stretch": ""}[how]
        assert notes == (f"{done}resized from {size} to 32x32",)


def test_a_wrong_form_is_refused_with_its_rule() -> None:
    with pytest.raises(ValueError, match=r"--image-size must lie in \[8, 512\], got 4"):
        ImageOptions(size=4)
    with pytest.raises(ValueError, match="--resize must be one of letterbox, crop, stretch, got 'pad'"):
        ImageOptions(resize="pad")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="--resize is for a folder of your own images, but digits has its own form"):
        load("digits", "", images=ImageOptions(resize="crop"))


def test_a_form_says_itself_in_a_sentence() -> None:
    form = ImageOptions(size=64, resize="letterbox", background="black")
    assert form.sentence == "Images are padded to squares of 64 x 64 pixels; transparent pixels show black."


def opened(folder: Path, runs: Path, *words: str, given: tuple[str, ...] = ()) -> Session:
    options = [
        "--space",
        "image_folder_arch",
        "--data-dir",
        str(folder),
        "--runs-dir",
        str(runs),
        "--name",
        "x",
        *words,
    ]
    return Session.open(parse(Options, options, prog="search.run"), given=given)


def test_a_run_keeps_the_form_that_it_began_with(tmp_path: Path) -> None:
    folder, runs = make_folder(tmp_path / "images", size=(30, 60)), tmp_path / "runs"
    session = opened(folder, runs, "--resize", "crop")
    assert session.run.images == ImageOptions(size=32, resize="crop", background="white")
    new_run(session.run_dir, session.run)
    assert read_run(session.run_dir) == session.run
    resumed = opened(folder, runs, "--resume")
    assert torch.equal(resumed.dataset.train.x, session.dataset.train.x)
    for words, name, message in (
        (("--resize", "letterbox"), "resize", "resize is 'crop', not 'letterbox'"),
        (("--image-size", "40"), "image_size", "image_size is 32, not 40"),
    ):
        with pytest.raises(ValueError, match=f"run 'x' cannot change what it searches .{message}.; leave these"):
            opened(folder, runs, "--resume", *words, given=(name,))


def test_a_run_of_an_earlier_release_goes_on_with_its_space_and_its_stretched_images(tmp_path: Path) -> None:
    folder, runs = make_folder(tmp_path / "images", size=(30, 60)), tmp_path / "runs"
    ((name, fingerprint),) = [key for key in spaces.EARLIER if key[0] == "image_folder_arch"]
    session = opened(folder, runs)
    old = spaces.space.load(spaces.EARLIER[name, fingerprint])
    stretched = load("image_folder", folder)
    run = replace(
        session.run,
        fingerprint=fingerprint,
        dataset_checksum=stretched.checksum,
        images=None,
        folds=1,
        passes=1,
        keep_epoch="last",
        baseline=dict(old.baseline),
        epochs=old.epochs,
        min_epochs=1,
    )
    new_run(session.run_dir, run)
    resumed = opened(folder, runs, "--resume")
    assert resumed.space is old
    assert resumed.run.images is None
    assert torch.equal(resumed.dataset.train.x, stretched.train.x)
    assert resumed.dataset.image_shape == (3, 32, 32) != session.dataset.image_shape
