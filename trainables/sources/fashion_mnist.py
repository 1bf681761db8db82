"""Fashion-MNIST: grey images of 28x28 of ten kinds of clothing (Xiao et al. 2017), in torchvision's folder layout."""

import gzip
from pathlib import Path

import numpy as np

from trainables.files.download import OfficialFile, check_size, fetch, read_verified
from trainables.sources.catalogue import Source

_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_URL = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
    "b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/"
)


def _packed(name: str, size: int, sha256: str) -> OfficialFile:
    return OfficialFile(name=f"{name}.gz", size=size, sha256=sha256, url=f"{_URL}{name}.gz")


_PACKED = {
    "train-images": _packed(
        "train-images-idx3-ubyte", 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
    ),
    "train-labels": _packed(
        "train-labels-idx1-ubyte", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
    ),
    "t10k-images": _packed(
        "t10k-images-idx3-ubyte", 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
    ),
    "t10k-labels": _packed(
        "t10k-labels-idx1-ubyte", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
    ),
}
_UNPACKED = {
    "train-images": OfficialFile(
        name="train-images-idx3-ubyte",
        size=47040016,
        sha256="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels": OfficialFile(
        name="train-labels-idx1-ubyte",
        size=60008,
        sha256="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k-images": OfficialFile(
        name="t10k-images-idx3-ubyte",
        size=7840016,
        sha256="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "t10k-labels": OfficialFile(
        name="t10k-labels-idx1-ubyte",
        size=10008,
        sha256="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}


def read(data_dir: Path, *, test: bool) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images uint8 (N, 28, 28, 1), labels and class names; only the files of this part are opened."""
    part, folder = "t10k" if test else "train", data_dir / "FashionMNIST" / "raw"
    images = np.frombuffer(_content(folder, f"{part}-images"), np.uint8, offset=16)  # after the idx header
    labels = np.frombuffer(_content(folder, f"{part}-labels"), np.uint8, offset=8)
    return images.reshape(-1, 28, 28, 1), labels.astype(np.int64), _CLASSES


def fetch_test_files(data_dir: Path) -> None:
    """Download the test files that are missing, and check their sizes; none is opened."""
    folder = data_dir / "FashionMNIST" / "raw"
    for key in ("t10k-images", "t10k-labels"):
        unpacked = _UNPACKED[key]
        if (folder / unpacked.name).exists():
            check_size(folder / unpacked.name, unpacked)
        else:
            check_size(fetch(_PACKED[key], folder), _PACKED[key])


def _content(folder: Path, key: str) -> bytes:
    unpacked = _UNPACKED[key]
    if (folder / unpacked.name).exists():
        return read_verified(folder / unpacked.name, unpacked)
    return gzip.decompress(read_verified(fetch(_PACKED[key], folder), _PACKED[key]))


SOURCE = Source(
    about=(
        "Fashion-MNIST: 28 x 28 grey pictures of ten kinds of clothing (Xiao et al. 2017), a harder replacement for "
        "MNIST. It is an example of small grey product images; shirts, pullovers and coats overlap, so no model is "
        "perfect."
    ),
    read_images=read,
    size=(60_000, 10),
    files="FashionMNIST/raw/train-images-*",
    fetch_test_files=fetch_test_files,
)
