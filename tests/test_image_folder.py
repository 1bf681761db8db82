"""A user's own images: folders good and bad, and the cache."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.pictures import LEVELS, make_folder
from trainables.data.options import STRETCHED
from trainables.images import file as image_file
from trainables.sources.load import load, load_test


def cache_files(root: Path) -> list[Path]:
    return sorted((root / ".rungwise-cache").glob("*.npz"))


def test_images_become_squares_of_one_size_with_their_colours_and_classes(tmp_path: Path) -> None:
    dataset = load("image_folder", make_folder(tmp_path), validation_fraction=0.2)
    assert dataset.classes == ("cat", "dog")
    assert dataset.image_shape == (3, 20, 20)
    assert (len(dataset.train), len(dataset.validation)) == (16, 4)
    red = torch.tensor([LEVELS[name] for name in dataset.classes])[dataset.train.y]
    assert torch.equal(dataset.train.x[:, 0].flatten(1).amin(1).long(), red)
    assert torch.equal(dataset.train.x[:, 0].flatten(1).amax(1).long(), red)
    assert len(load_test("image_folder", tmp_path)) == 20


def test_grey_images_have_one_channel_and_sixteen_bits_become_eight(tmp_path: Path) -> None:
    make_folder(tmp_path, mode="L")
    deep = np.full((20, 24), 100 * 256, np.uint16)
    Image.fromarray(deep).save(tmp_path / "train" / "cat" / "0.png")
    dataset = load("image_folder", tmp_path, validation_fraction=0)
    assert dataset.image_shape == (1, 20, 20)
    assert sorted(set(dataset.train.x.flatten().tolist())) == [50, 100, 200]


@pytest.mark.parametrize(("size", "side"), [((300, 200), 64), ((3, 3), 8), ((29, 40), 28)])
def test_the_size_follows_the_shorter_side_within_bounds(tmp_path: Path, size: tuple[int, int], side: int) -> None:
    assert load("image_folder", make_folder(tmp_path, size=size, per_class=3)).image_shape == (3, side, side)


def test_the_size_can_be_chosen(tmp_path: Path) -> None:
    make_folder(tmp_path, per_class=3)
    assert load("image_folder", tmp_path, images=replace(STRETCHED, size=12)).image_shape == (3, 12, 12)
    assert load_test("image_folder", tmp_path, images=replace(STRETCHED, size=12)).x.shape == (6, 3, 12, 12)
    with pytest.raises(ValueError, match=r"--image-size must lie in \[8, 512\], got 1000"):
        load("image_folder", tmp_path, images=replace(STRETCHED, size=1000))


def test_loading_never_opens_the_test_images(tmp_path: Path) -> None:
    """Their names are compared; a search looks at their headers as well, see below."""
    make_folder(tmp_path)
    (tmp_path / "test" / "cat" / "0.png").write_bytes(b"not an image")
    assert len(load("image_folder", tmp_path).train) == 18
    with pytest.raises(ValueError, match=r"1 of 20 images cannot be read: .*test/cat/0.png; repair or remove"):
        load_test("image_folder", tmp_path)


def test_without_a_test_folder_a_fixed_part_of_each_class_is_held_out(tmp_path: Path) -> None:
    make_folder(tmp_path, per_class=20)
    shutil.rmtree(tmp_path / "test")
    test = load_test("image_folder", tmp_path)
    first, second = (load("image_folder", tmp_path, seed=seed, validation_fraction=0) for seed in (0, 1))
    assert torch.bincount(test.y).tolist() == [3, 3]
    assert [str(name).split("/")[:2] for name in test.origin] == [["train", "cat"]] * 3 + [["train", "dog"]] * 3
    assert torch.bincount(first.train.y).tolist() == [17, 17]
    assert torch.equal(first.train.x, second.train.x)
    seen = {row.numpy().tobytes() for row in first.train.x}
    assert not seen & {row.numpy().tobytes() for row in test.x}


def test_images_are_decoded_once_and_again_when_the_folder_changes(tmp_path: Path) -> None:
    make_folder(tmp_path)
    first = load("image_folder", tmp_path)
    written = cache_files(tmp_path)[0].stat().st_mtime_ns
    assert load("image_folder", tmp_path).checksum == first.checksum
    assert [path.stat().st_mtime_ns for path in cache_files(tmp_path)] == [written]
    Image.new("RGB", (20, 24), (77, 0, 0)).save(tmp_path / "train" / "cat" / "new.png")
    changed = load("image_folder", tmp_path)
    assert changed.checksum != first.checksum
    assert len(changed.train) + len(changed.validation) == 21


def test_a_damaged_cache_is_decoded_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_folder(tmp_path)
    first = load("image_folder", tmp_path)
    path = cache_files(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-100] + bytes(100))
    assert load("image_folder", tmp_path).checksum == first.checksum
    assert "is damaged (sha256); decoding the images again" in caplog.text


def test_a_folder_that_cannot_be_written_is_cached_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder(tmp_path / "images")
    (root / ".rungwise-cache").write_text("a file where the folder should be")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dataset = load("image_folder", root)
    folder = tmp_path / f"rungwise-cache-{os.getuid()}"
    assert len(list(folder.glob("*.npz"))) == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)  # as another user might have planted it: not trusted
    assert load("image_folder", root).checksum == dataset.checksum
    assert len(list(tmp_path.glob("rungwise-cache-*/*.npz"))) == 2


def test_images_that_cannot_be_read_are_counted_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path)
    cats = tmp_path / "train" / "cat"
    (cats / "0.png").write_bytes((cats / "0.png").read_bytes()[:40])
    os.symlink(tmp_path / "nowhere.png", cats / "broken-link.png")
    with pytest.raises(ValueError, match=r"2 of 21 images cannot be read: .*cat/0.png, .*cat/broken-link.png; repair"):
        load("image_folder", tmp_path)
    monkeypatch.setattr(image_file, "MAX_PIXELS", 100)
    with pytest.raises(
        ValueError,
        match=r"^2 of 21 images cannot be read: .*; repair .*; 19 of 21 images have too many pixels: .*shrink",
    ):
        load("image_folder", tmp_path)


def test_links_to_classes_and_images_are_followed_and_other_files_ignored(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "real")
    linked = tmp_path / "linked" / "train"
    linked.mkdir(parents=True)
    os.symlink(root / "train" / "cat", linked / "cat")
    (linked / "dog").mkdir()
    for number in range(3):
        os.symlink(root / "train" / "dog" / f"{number}.png", linked / "dog" / f"{number}.png")
    for name in ("notes.txt", ".hidden.png"):
        (linked / "dog" / name).write_text("no image")
    (linked / "dog" / "deeper").mkdir()
    dataset = load("image_folder", tmp_path / "linked", validation_fraction=0)
    test = load_test("image_folder", tmp_path / "linked")
    assert (torch.bincount(dataset.train.y) + torch.bincount(test.y)).tolist() == [10, 3]


def test_a_folder_of_another_form_is_refused_with_the_form_expected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train is not a folder; images are expected as .*train/CLASS/FILE"):
        load("image_folder", tmp_path)
    make_folder(tmp_path)
    given = tmp_path / "train"
    with pytest.raises(ValueError, match=rf"train/CLASS/FILE; give the folder above: --data-dir {tmp_path}$"):
        load("image_folder", given)
    given.rename(tmp_path / "photos")
    with pytest.raises(ValueError, match=r"photos \(cat, dog\) are the classes, move them into .*photos/train$"):
        load("image_folder", tmp_path / "photos")
    (tmp_path / "photos").rename(given)
    shutil.rmtree(tmp_path / "train" / "dog")
    with pytest.raises(ValueError, match=r"must contain images in at least 2 classes \(folders\), got 1"):
        load("image_folder", tmp_path)
    (tmp_path / "train" / "dog").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "train" / "dog" / "0.png")
    with pytest.raises(ValueError, match="every class needs at least 3 images in train/, got 1 in 'dog'"):
        load("image_folder", tmp_path)


def test_a_test_class_that_training_lacks_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path)
    (tmp_path / "test" / "cat").rename(tmp_path / "test" / "lion")
    with pytest.raises(ValueError, match="has a class 'lion' that train/ does not have"):
        load_test("image_folder", tmp_path)
