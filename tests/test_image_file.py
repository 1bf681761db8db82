"""Images of every mode and depth: the pixels that a search and a prediction get of them."""

import io
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis import predict
from benchmarks.fuzzing import image_files
from benchmarks.fuzzing.images import run
from tests.pictures import make_folder, undecodable_png
from trainables.data.grey_levels import Levels, choose_levels, scale
from trainables.data.options import STRETCHED
from trainables.images.damage import seems_cut
from trainables.images.file import decode_only, quiet, read_header, read_image, read_values
from trainables.sources.images import check_test_files
from trainables.sources.load import load, load_test

SIDE = 20


def deep_folder(root: Path, values: list[np.ndarray], *, suffix: str = ".tif", test: np.ndarray | None = None) -> Path:
    """Six images in two classes of `train/`, made of these values in turn; and two of `test/` if given."""
    for number in range(6):
        path = root / "train" / ("cat", "dog")[number % 2] / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values[number % len(values)]).save(path)
    for name in ("cat", "dog") if test is not None else ():
        (root / "test" / name).mkdir(parents=True)
        Image.fromarray(test).save(root / "test" / name / f"0{suffix}")
    return root


def ramp(low: float, high: float, dtype: str) -> np.ndarray:
    """All levels from low to high, in equal steps."""
    return np.linspace(low, high, SIDE * SIDE).reshape(SIDE, SIDE).astype(dtype)


def test_files_of_every_kind_come_out_as_they_were_made():
    found = run(count=420, seed=3)  # each kind of folder once
    assert found["failures"] == []
    assert found["images"] >= 420
    assert found["right"] > 300
    assert found["refused"] > 0
    assert found["left_out"] == 5


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        (ramp(0, 65535, "<u2"), ".png"),
        (ramp(0, 4095, "<u2"), ".png"),
        (ramp(0, 16383, "<u2"), ".tif"),
        (ramp(0, 255, "<u2"), ".png"),
        (ramp(0, 2**31 - 1, "<i4"), ".tif"),
        (ramp(-1024, 3071, "<i4"), ".tif"),
        (ramp(29000, 31000, "<u2"), ".tif"),  # centikelvin of a thermal camera
        (ramp(0, 1, "<f4"), ".tif"),
        (ramp(0, 255, "<f4"), ".tif"),
        (ramp(-1e-9, 1e-9, "<f4"), ".tif"),
        (ramp(0, 65535, "<u2"), ".pgm"),
    ],
)
def test_deep_images_use_the_whole_scale_of_eight_bits(tmp_path, values, suffix):
    dataset = load("image_folder", deep_folder(tmp_path, [values], suffix=suffix), validation_fraction=0)
    x = dataset.train.x.float()
    assert dataset.image_shape == (1, SIDE, SIDE)
    assert (x.amin(), x.amax()) == (0, 255)
    assert x.mean() == pytest.approx(127.5, abs=1)
    assert len(x.unique()) > 200
    assert any("become 0 to 255" in note for note in dataset.notes)


def test_sixteen_bits_keep_their_upper_eight(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (SIDE, SIDE)).astype("<u2")
    dataset = load("image_folder", deep_folder(tmp_path, [values], suffix=".png"), validation_fraction=0)
    assert np.array_equal(dataset.train.x[0, 0].numpy(), values >> 8)


def test_one_scale_holds_for_the_folder_and_test_images_have_no_part_in_it(tmp_path):
    dark, bright, beyond = ramp(0, 1000, "<u2"), ramp(2000, 4095, "<u2"), ramp(0, 65535, "<u2")
    dataset = load(
        "image_folder", deep_folder(tmp_path, [dark, bright], suffix=".png", test=beyond), validation_fraction=0
    )
    assert dataset.levels == (Levels(kind="integer", low=0, high=4095),)
    assert dataset.train.x.amax() == 255
    assert dataset.train.x[dataset.train.y == 0].amax() == 1000 >> 4
    test = load_test("image_folder", tmp_path)
    assert np.array_equal(test.x[0, 0].numpy(), np.minimum(beyond, 4095) >> 4)


def test_without_a_test_folder_the_rows_held_out_have_no_part_in_the_scale(tmp_path):
    deep_folder(tmp_path, [ramp(0, 1000, "<u2")], suffix=".png")
    held_out = {tmp_path / name for name in _files_held_out(tmp_path)}
    assert held_out
    for path in held_out:
        Image.fromarray(ramp(0, 65535, "<u2")).save(path)
    assert load("image_folder", tmp_path, validation_fraction=0).levels[0].high == 1023


def _files_held_out(root: Path) -> list[str]:
    from trainables.images.folder import read

    return list(read(root, test=True).files)


def test_a_kind_of_image_that_training_lacks_is_refused_before_the_search(tmp_path):
    make_folder(tmp_path, mode="L")
    Image.fromarray(ramp(0, 1, "<f4")).save(tmp_path / "test" / "cat" / "0.tif")
    load("image_folder", tmp_path)
    with pytest.raises(ValueError, match=r"1 of 21 images .*cat/0.tif; repair or .*0.tif: it contains float.*F"):
        check_test_files("image_folder", tmp_path)
    Image.fromarray(ramp(0, 65535, "<u2")).save(tmp_path / "test" / "cat" / "0.tif")
    check_test_files("image_folder", tmp_path)  # 16 bits state their own scale


def test_floats_that_are_not_finite_are_refused_with_the_file(tmp_path):
    values = ramp(0, 1, "<f4")
    values[3, 3] = np.nan
    with pytest.raises(ValueError, match=r"4 of 4 images cannot be read: .*1.tif: it contains NaN or .*mode F"):
        load("image_folder", deep_folder(tmp_path, [values]))


def test_colour_of_sixteen_bits_that_is_nearly_black_is_refused(tmp_path, monkeypatch):
    values = np.random.default_rng(0).integers(0, 4096, (image_files.SIDE, image_files.SIDE, 3))
    deep = image_files._rows_png(values, colour_type=2)
    make_folder(tmp_path)
    for name in ("cat", "dog"):
        for number in range(10):
            (tmp_path / "train" / name / f"{number}.png").write_bytes(deep)
    with pytest.raises(
        ValueError, match="20 colour images with 16 bits per channel, such as .*use 16 of the 256 levels"
    ):
        load("image_folder", tmp_path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "I", "F"])
def test_grey_with_and_without_transparency_has_one_channel_for_the_reader_and_for_predict(tmp_path, mode):
    plain = Image.fromarray(ramp(0, 255, "u1"))
    if mode == "I;16":
        image = Image.fromarray(ramp(0, 65535, "<u2"))
    elif mode in ("I", "F"):
        image = Image.fromarray(ramp(0, 255, "<i4" if mode == "I" else "<f4"))
    else:
        image = plain.convert(mode)
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(4):
            image.save(tmp_path / "train" / name / f"{number}.tif")
    dataset = load("image_folder", tmp_path, validation_fraction=0)
    assert dataset.image_shape == (1, SIDE, SIDE)
    path = str(tmp_path / "train" / "cat" / "0.tif")
    pixels, notes = predict.read_image(path, shape=dataset.image_shape, levels=dataset.levels)
    assert np.array_equal(pixels, dataset.train.x[0].numpy())
    assert not any("grey" in note for note in notes)


@pytest.mark.parametrize("mode", ["P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_colour_of_every_mode_is_the_same_for_the_reader_and_for_predict(tmp_path, mode):
    rng = np.random.default_rng(0)
    with quiet():
        make = next(m for m in image_files.colour_makers() if m(rng).what == f"{mode} in .tif")
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "train" / name / f"{number}.tif").write_bytes(make(rng).data)
    dataset = load("image_folder", tmp_path, validation_fraction=0, images=replace(STRETCHED, size=10))
    path = str(tmp_path / "train" / "cat" / "0.tif")
    pixels, notes = predict.read_image(path, shape=dataset.image_shape)
    assert np.array_equal(pixels, dataset.train.x[0].numpy())
    assert notes == ("resized from 16x16 to 10x10",)


def test_a_large_jpeg_is_the_same_for_the_reader_and_for_predict(tmp_path):
    """A JPEG is decoded at a fraction of its size, which rounds otherwise than resizing the whole."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(noise).save(tmp_path / "train" / name / f"{number}.jpg")
    dataset = load("image_folder", tmp_path, validation_fraction=0, images=replace(STRETCHED, size=16))
    pixels, _ = predict.read_image(str(tmp_path / "train" / "cat" / "0.jpg"), shape=(3, 16, 16))
    assert np.array_equal(pixels, dataset.train.x[0].numpy())


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_transparency_is_left_out_and_that_is_said(tmp_path, mode):
    make_folder(tmp_path)
    path = tmp_path / "train" / "cat" / "0.png"
    image = Image.new(
        "P" if mode == "P" else mode, (20, 24), 7 if mode == "P" else (90, 0) if mode == "LA" else (90,) * 4
    )
    if mode == "P":
        image.putpalette([90] * 768)
    image.save(path, **({"transparency": 7} if mode == "P" else {}))
    dataset = load("image_folder", tmp_path, validation_fraction=0)
    said = "1 image has transparency, which is ignored (train/cat/0.png)"
    assert said in dataset.notes
    assert dataset.train.x[0].unique().tolist() == [90]


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".png", ".webp"])
def test_of_several_frames_the_first_is_used_and_that_is_said(tmp_path, suffix):
    make_folder(tmp_path)
    first, second = Image.new("RGB", (20, 24), (255, 0, 0)), Image.new("RGB", (20, 24), (0, 0, 255))
    path = tmp_path / "train" / "cat" / f"a{suffix}"
    first.save(path, save_all=True, append_images=[second])
    dataset = load("image_folder", tmp_path, validation_fraction=0)
    assert f"1 image has several frames; the first one is used (train/cat/a{suffix})" in dataset.notes
    row = dataset.train.x[10].float()
    assert row[0].mean() > 240
    assert row[2].mean() < 15
    _, notes = predict.read_image(str(path), shape=(3, 20, 20))
    assert "it has several frames; the first one is used" in notes


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_images_are_taken_as_they_are_shown(tmp_path, orientation, suffix):
    image = Image.new("RGB", (40, 24))
    image.paste((255, 255, 255), (0, 0, 8, 8))  # one corner
    exif = Image.Exif()
    exif[274] = orientation
    image.save(tmp_path / f"turned{suffix}", exif=exif)
    path = tmp_path / f"turned{suffix}"
    pixels, header = read_image(path, size=(24, 24), grey=True)
    assert (header.width, header.height) == ((40, 24) if orientation < 5 else (24, 40))
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    assert pixels[corner[orientation]] > 200


def test_a_header_is_read_without_the_pixels():
    """Their stream is damaged: whoever reads the header does not notice, whoever reads them does."""
    data = io.BytesIO(undecodable_png())
    assert read_header(data).mode == "L"
    for read in (read_values, decode_only, partial(read_image, size=(8, 8), grey=True)):
        with pytest.raises(ValueError, match="broken data stream"):
            read(data)


def test_a_damaged_orientation_beside_sound_pixels_costs_nothing(tmp_path):
    path = tmp_path / "image.jpg"
    Image.new("L", (20, 20), 77).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\xff\xff")
    with quiet():
        assert read_image(path, size=(20, 20), grey=True)[0].mean() == pytest.approx(77, abs=1)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "the file is empty"),
        (b"GIF? no, words", "not an image in a known format"),
        (b"II*\0\xff\xff\xff\xff", "a TIFF that is damaged or uses a format that Pillow does not support"),
    ],
)
def test_what_is_no_image_is_refused_with_the_cause(content, cause):
    for read in (read_header, read_values):
        with pytest.raises(ValueError, match=cause), quiet():
            read(io.BytesIO(content))


def test_usual_ranges_are_kept_and_others_are_spread():
    def chosen(kind: str, low: float, high: float, alone: bool = True) -> tuple[float, float]:
        levels = choose_levels(kind, low, high, alone=alone)
        return levels.low, levels.high

    assert chosen("integer", 3, 900) == (0, 1023)
    assert chosen("integer", 0, 5000) == (0, 16383)
    assert chosen("integer", 0, 3) == (0, 3)  # numbers of classes, say
    assert chosen("integer", 0, 3, alone=False) == (0, 255)
    assert chosen("integer", -5, 100) == (-5, 100)
    assert chosen("integer", 7, 7) == (0, 255)
    assert chosen("integer", 10**6, 10**6) == (10**6, 10**6 + 1)
    assert chosen("float", 0.1, 0.9) == (0, 1)
    assert chosen("float", 0, 1e-6) == (0, 1e-6)
    assert chosen("float", 250, 310) == (250, 310)
    with pytest.raises(ValueError, match="levels must be integer or float with finite low < high"):
        Levels(kind="float", low=1, high=1)


def test_values_beyond_the_levels_are_clipped():
    levels = Levels(kind="float", low=-1, high=1)
    assert scale(np.array([-7, -1, 0, 1, 7.0]), levels).tolist() == [0, 0, 128, 255, 255]
    assert scale(np.array([0, 4095, 5000]), Levels(kind="integer", low=0, high=4095)).tolist() == [0, 255, 255]


def test_files_that_end_early_are_known_by_their_structure(tmp_path):
    """Without decoding: a test image is not looked at."""
    rng = np.random.default_rng(0)
    makers = image_files.grey_makers() + image_files.colour_makers() + image_files.float_makers(0, 1)
    known = set()
    with quiet():
        for made in (make(rng) for make in makers):
            path = tmp_path / f"image{made.suffix}"
            path.write_bytes(made.data)
            assert not seems_cut(path), made.what
            path.write_bytes(made.data[:-24])
            try:
                cut = seems_cut(path)
            except (OSError, ValueError):
                cut = True  # its header needs what is missing
            known |= {made.suffix} if cut else set()
    assert known >= {".bmp", ".gif", ".jpeg", ".jpg", ".pfm", ".png", ".ppm", ".tif", ".webp"}
