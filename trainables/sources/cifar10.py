"""CIFAR-10: colour images of 32x32 in ten classes (Krizhevsky 2009), in torchvision's folder layout."""

import pickle
import tarfile
from pathlib import Path

import numpy as np

from trainables.files.download import OfficialFile, check_size, fetch, locked, read_verified
from trainables.files.whole import write_whole
from trainables.sources.catalogue import Source

_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FOLDER = "cifar-10-batches-py"
_ARCHIVE = OfficialFile(
    name="cifar-10-python.tar.gz",
    size=170498071,
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)
_TRAIN = tuple(
    OfficialFile(name=f"data_batch_{number}", size=size, sha256=sha256)
    for number, size, sha256 in (
        (1, 31035704, "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd"),
        (2, 31035320, "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8"),
        (3, 31035999, "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9"),
        (4, 31035696, "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b"),
        (5, 31035623, "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154"),
    )
)
_TEST = (
    OfficialFile(
        name="test_batch",
        size=31035526,
        sha256="f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
    ),
)


def fetch_test_files(data_dir: Path) -> None:
    """Unpack the test file if it is missing, and check its size; it is not opened."""
    for file in _TEST:
        if not (data_dir / _FOLDER / file.name).exists():
            _unpack(_TEST, data_dir)
        check_size(data_dir / _FOLDER / file.name, file)


def read(data_dir: Path, *, test: bool) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images uint8 (N, 32, 32, 3), labels and class names; only the files of this part are opened."""
    files = _TEST if test else _TRAIN
    if not all((data_dir / _FOLDER / file.name).exists() for file in files):
        _unpack(files, data_dir)
    x = np.empty((10_000 * len(files), 32, 32, 3), np.uint8)
    labels: list[int] = []
    for part, file in zip(np.split(x, len(files)), files, strict=True):
        # unpickling can run any code, but these bytes have just been verified as the official ones
        batch = pickle.loads(read_verified(data_dir / _FOLDER / file.name, file), encoding="latin1")
        part[:] = batch["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        labels += batch["labels"]
    return x, np.array(labels, np.int64), _CLASSES


def _unpack(files: tuple[OfficialFile, ...], data_dir: Path) -> None:
    """Take these files, and nothing else, out of the archive; a member's own path is never used as a path."""
    archive = fetch(_ARCHIVE, data_dir)
    read_verified(archive, _ARCHIVE)
    folder = data_dir / _FOLDER
    folder.mkdir(exist_ok=True)
    with locked(folder), tarfile.open(archive) as tar:
        for file in files:
            if not (folder / file.name).exists():
                member = tar.extractfile(f"{_FOLDER}/{file.name}")
                assert member is not None  # the archive is the official one
                write_whole(folder / file.name, member.read())


SOURCE = Source(
    about=(
        "CIFAR-10: 32 x 32 colour photographs of ten kinds of objects (Krizhevsky 2009), the usual first benchmark of "
        "convolutional networks. It is an example of natural images at low resolution."
    ),
    read_images=read,
    size=(50_000, 10),
    files="cifar-10-batches-py/data_batch_1",
    fetch_test_files=fetch_test_files,
)
