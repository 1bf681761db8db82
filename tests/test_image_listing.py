"""Which files of an image folder are used, what is said of the others, and what is refused before a search."""

import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from search.forecast.preview import show_data
from search.process.arguments import parse
from search.session.options import Options
from search.session.session import Session
from tests.pictures import make_folder
from trainables.sources.images import check_test_files
from trainables.sources.load import load, load_test


@pytest.mark.parametrize(
    ("suffix", "counted"),
    [(".heic", "6 .heic (bird/0.heic, ...)"), (".jxl", "6 .jxl"), (".bak", "6 .bak"), (".npy", "6 .npy")],
)
def test_a_class_without_an_image_that_can_be_used_is_refused_with_what_it_holds(tmp_path, suffix, counted):
    pets(tmp_path, bird=suffix)
    with pytest.raises(ValueError, match="train/bird contains no image that can be used, only ") as raised:
        load("image_folder", tmp_path)
    assert counted in str(raised.value)
    assert "convert them to PNG or JPEG" in str(raised.value)


def pets(root: Path, *, bird: str) -> None:
    """Three classes of six different images; those of `bird` end in the suffix given."""
    for number, name in enumerate(("bird", "cat", "dog")):
        (root / "train" / name).mkdir(parents=True)
        for shade in range(6):
            path = root / "train" / name / f"{shade}.jpg"
            Image.new("RGB", (20, 20), (shade * 9, number * 50, 90)).save(path)
            if name == "bird":
                path.rename(path.with_suffix(bird))


@pytest.mark.parametrize("suffix", ["", ".jfif", ".jpe", ".JPG", ".avif", ".jpg_large", ".image", ".tiff"])
def test_images_are_known_by_their_content_whatever_their_suffix(tmp_path, suffix):
    pets(tmp_path, bird=suffix)
    dataset = load("image_folder", tmp_path, validation_fraction=0)
    assert dataset.classes == ("bird", "cat", "dog")
    assert len(dataset.train) + len(load_test("image_folder", tmp_path)) == 18
    assert dataset.notes == ()


@pytest.mark.parametrize("name", ["Dog", "dog ", "dog\u200b", "DOG"])
def test_classes_whose_names_look_alike_are_said(tmp_path, name):
    pets(tmp_path, bird=".jpg")
    (tmp_path / "train" / "bird").rename(tmp_path / "train" / name)
    dataset = load("image_folder", tmp_path)
    assert set(dataset.classes) == {"cat", "dog", name}
    assert "are two classes; write them the same way if they mean the same" in dataset.notes[0]
    assert repr(name) in dataset.notes[0]


def test_images_in_hidden_folders_are_counted(tmp_path):
    pets(tmp_path, bird=".jpg")
    shutil.copytree(tmp_path / "train" / "cat", tmp_path / "train" / ".trash" / "deep")
    (tmp_path / "train" / ".git").mkdir()
    assert load("image_folder", tmp_path).notes == ("left out of train/: 6 in hidden folders (.trash/deep/0.jpg, ...)",)


def test_folders_in_a_class_are_counted_and_a_class_of_nothing_else_is_refused(tmp_path):
    pets(tmp_path, bird=".jpg")
    deeper = tmp_path / "train" / "bird" / "2023"
    deeper.mkdir()
    for number in range(4):
        (tmp_path / "train" / "bird" / f"{number}.jpg").rename(deeper / f"{number}.jpg")
    with pytest.raises(ValueError, match="every class needs at least 3 images in train/, got 2 in 'bird'"):
        load("image_folder", tmp_path)
    shutil.copy(deeper / "0.jpg", tmp_path / "train" / "bird")
    assert load("image_folder", tmp_path).notes[0] == "left out of train/: 4 in deeper folders (bird/2023/0.jpg, ...)"
    for path in (tmp_path / "train" / "bird").glob("*.jpg"):
        path.unlink()
    with pytest.raises(ValueError, match=r"contains no image that can be used, only 4 in deeper folders .*bird itself"):
        load("image_folder", tmp_path)


def test_everything_that_is_left_out_is_counted_by_suffix(tmp_path):
    make_folder(tmp_path)
    shutil.rmtree(tmp_path / "test")
    cats = tmp_path / "train" / "cat"
    for name in ("a.txt", "b.txt", "c.csv", "._0.png", ".DS_Store", "README"):
        (cats / name).write_text("no image")
    (tmp_path / "train" / "loose.png").write_bytes((cats / "0.png").read_bytes())
    (tmp_path / "train" / "unsorted").mkdir()
    (tmp_path / "val" / "cat").mkdir(parents=True)
    left_out, empty, unused, *_ = load("image_folder", tmp_path).notes
    assert left_out == (
        "left out of train/: 1 hidden (cat/._0.png), 1 without a suffix (cat/README), 2 .txt (cat/a.txt, ...),"
        " 1 .csv (cat/c.csv), 1 next to the class folders (loose.png)"
    )
    assert empty == "empty folders in train/ are not classes: 'unsorted'"
    assert unused == "not used, because only train/ and test/ are read: val/"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("empty", "test contains no images; put them into .*test/CLASS, or remove the folder test/; then 15 %"),
        ("unusable", r"test contains no images that can be used: 20 .heic \(cat/0.heic, ...\); put them into"),
        ("lacking", "test contains no image of 'dog', which train/ has; the classes must be the same"),
        ("misspelt", r"has a class 'dogs' that train/ does not have \(is it 'dog'\?\); the classes must be the same"),
        ("extra", "has a class 'lion' that train/ does not have; the classes must be the same"),
    ],
)
def test_a_test_folder_that_does_not_fit_is_refused_before_the_search(tmp_path, change, message):
    test = make_folder(tmp_path) / "test"
    if change == "empty":
        shutil.rmtree(test)
        test.mkdir()
    elif change == "unusable":
        for path in list(test.glob("*/*")):
            path.rename(path.with_suffix(".heic"))
    elif change == "lacking":
        shutil.rmtree(test / "dog")
    elif change == "misspelt":
        (test / "dog").rename(test / "dogs")
    else:
        shutil.copytree(test / "cat", test / "lion")
    words = ["--space", "image_folder_arch", "--data-dir", str(tmp_path)]
    with pytest.raises(ValueError, match=message):
        Session.open(parse(Options, words, prog="search.run"), given=())


def test_test_images_whose_headers_cannot_be_read_are_named_before_the_search(tmp_path):
    test = make_folder(tmp_path) / "test"
    (test / "cat" / "0.png").write_bytes(b"no image")
    (test / "cat" / "1.png").write_bytes(b"")
    (test / "dog" / "words").write_text("without a suffix, and no image: left out")
    words = ["--space", "image_folder_arch", "--data-dir", str(tmp_path)]
    with pytest.raises(ValueError, match=r"2 of 20 images cannot be read: .*test/cat/0.png, .*test/cat/1.png; repair"):
        Session.open(parse(Options, words, prog="search.run"), given=())


def test_what_is_left_out_of_the_test_set_is_counted_by_content_as_well(tmp_path):
    test = make_folder(tmp_path) / "test"
    (test / "cat" / "words").write_text("without a suffix, and no image")
    (test / "cat" / "0.png").rename(test / "cat" / "image")
    (test / "dog" / "0.png").rename(test / "dog" / "0.heic")
    left_out, copies = check_test_files("image_folder", tmp_path)
    assert left_out == "left out of test/: 1 without a suffix (cat/words), 1 .heic (dog/0.heic)"
    assert copies.startswith("19 of 19 test images are copies of training images")
    assert len(load_test("image_folder", tmp_path)) == 19


def test_classes_are_compared_in_one_unicode_form(tmp_path):
    make_folder(tmp_path)
    composed, decomposed = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"
    (tmp_path / "train" / "cat").rename(tmp_path / "train" / decomposed)
    (tmp_path / "test" / "cat").rename(tmp_path / "test" / composed)
    assert load("image_folder", tmp_path).classes == (composed, "dog")
    check_test_files("image_folder", tmp_path)
    assert torch.bincount(load_test("image_folder", tmp_path).y).tolist() == [10, 10]
    shutil.copytree(tmp_path / "train" / decomposed, tmp_path / "train" / composed)
    with pytest.raises(ValueError, match="two folders named 'café', which differ only in their Unicode form"):
        load("image_folder", tmp_path)


def test_names_that_are_not_utf8_are_read_and_shown_by_their_bytes(tmp_path):
    make_folder(tmp_path)
    for part in ("train", "test"):
        os.rename(os.fsencode(tmp_path / part / "cat"), os.fsencode(tmp_path / part) + b"/chat\xe9")
        folder = os.fsencode(tmp_path / part) + b"/chat\xe9"
        os.rename(folder + b"/0.png", folder + b"/caf\xe9\x1b[31m.png")
    dataset = load("image_folder", tmp_path)
    assert dataset.classes == ("chat\\xe9", "dog")
    json.dumps(dataset.classes).encode()
    assert len(load_test("image_folder", tmp_path)) == 20
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/train/chat\xe9/caf\xe9\x1b[31m.png")).write_text("no image")
    with pytest.raises(ValueError, match=r"1 of 20 images .*train/chat\\xe9/caf\\xe9\\x1b\[31m.png; repair"):
        load("image_folder", tmp_path)


def test_many_images_that_cannot_be_read_are_listed_in_a_file_that_can_remove_them(tmp_path):
    root = make_folder(tmp_path / "a folder")
    broken = sorted((root / "train" / "cat").glob("*.png"))[:5]
    for path in broken:
        path.write_bytes(path.read_bytes()[:60])
    (root / "train" / "dog" / "0.png").write_text("no image")
    with pytest.raises(ValueError, match=r"6 of 20 images cannot be read: .*, \.\.\.; repair or remove them") as raised:
        load("image_folder", root)
    listed = (root / ".rungwise-cache" / "unreadable.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in listed] == [*map(str, broken), str(root / "train" / "dog" / "0.png")]
    assert listed[-1].split("\t")[1] == "not an image in a known format"
    subprocess.run(str(raised.value).split("to remove them: ")[1], shell=True, check=True)
    assert len(load("image_folder", root).train) == 12


def test_copies_across_the_splits_are_counted(tmp_path):
    pets(tmp_path, bird=".png")
    assert load("image_folder", tmp_path).notes == check_test_files("image_folder", tmp_path) == ()
    for name in ("bird", "cat", "dog"):
        folder = tmp_path / "test" / name
        folder.mkdir(parents=True)
        Image.new("RGB", (20, 20), (1, 2, 3 + len(name))).save(folder / "0.png")
    shutil.copy(tmp_path / "train" / "cat" / "3.jpg", tmp_path / "test" / "cat" / "1.jpg")
    shutil.copy(tmp_path / "train" / "cat" / "4.jpg", tmp_path / "test" / "dog" / "1.jpg")
    (note,) = check_test_files("image_folder", tmp_path)
    assert note == (
        "2 of 5 test images are copies of training images (test/cat/1.jpg = train/cat/3.jpg), 1 of them in a "
        "different class, so the test score will be too optimistic; remove one of each pair"
    )
    for path in sorted((tmp_path / "train" / "cat").glob("*.jpg")):
        Image.open(path).save(path.with_suffix(".png"))  # the same pixels in other bytes
    (note,) = load("image_folder", tmp_path, validation_fraction=0.5).notes
    assert re.match(
        r"\d+ of 12 validation images have the pixels of training images \(train/cat/\d.*too optimistic", note
    )


def test_copies_of_the_images_held_out_are_counted(tmp_path):
    pets(tmp_path, bird=".png")
    for path in sorted((tmp_path / "train" / "cat").glob("*.jpg")):
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
    (note,) = check_test_files("image_folder", tmp_path)
    assert re.match(r"\d of 4 test images are copies of training images \(train/cat/", note)


def test_the_start_says_how_many_classes_there_are_and_what_was_noted(tmp_path):
    make_folder(tmp_path)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    console = Console(file=io.StringIO(), width=40)
    words = ["--space", "image_folder_arch", "--data-dir", str(tmp_path)]
    dataset = Session.open(parse(Options, words, prog="search.run"), given=()).dataset
    show_data(dataset, console=console)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "2 classes (cat: 10, dog: 10); colour images of 24x24 pixels"
    assert lines[1] == "split: the 3 folds are drawn at random"
    assert lines[2] == "note: trials are compared on only 20 validation rows, so small differences are chance"
    assert lines[3] == "note: left out of train/: 1 .txt (cat/notes.txt)"
    assert any(line.startswith("note: 3 folds, because on the 2 rows of one validation split") for line in lines)
    assert "test images are copies of training images" in lines[-1]


def test_a_damaged_record_of_the_format_is_made_again(tmp_path):
    make_folder(tmp_path)
    first = load("image_folder", tmp_path)
    (record,) = (tmp_path / ".rungwise-cache").glob("*.facts.json")
    for damage in ("", "[]", record.read_text().replace('"grey": false', '"grey": true')):
        record.write_text(damage)
        assert load("image_folder", tmp_path).checksum == first.checksum


def test_a_test_image_that_is_cut_is_named_before_the_search(tmp_path):
    make_folder(tmp_path, size=(200, 240))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (240, 200, 3)).astype(np.uint8))
    for name in ("cut.png", "cut.jpg", "cut.webp", "cut.tif", "cut.ppm"):
        path = tmp_path / "test" / "cat" / name
        noise.save(path)
        path.write_bytes(path.read_bytes()[:-30000])
        with pytest.raises(ValueError, match=rf"1 of 21 images cannot be read: .*test/cat/{name}; repair"):
            check_test_files("image_folder", tmp_path)
        path.unlink()


def test_no_file_waits_for_a_writer(tmp_path):
    make_folder(tmp_path)
    os.mkfifo(tmp_path / "train" / "cat" / "pipe.png")
    os.symlink("pipe.png", tmp_path / "train" / "cat" / "way-to-a-pipe.png")
    os.symlink("/dev/zero", tmp_path / "train" / "dog" / "zeros.jpg")
    assert load("image_folder", tmp_path).notes[0] == (
        "left out of train/: 3 that are not regular files (cat/pipe.png, ...)"
    )
