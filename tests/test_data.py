"""Data sets: splits, sharing, official files under damage, and downloads from a server on this machine."""

import gzip
import hashlib
import http.server
import io
import os
import pickle
import ssl
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.searching import ROOT
from trainables.data.dataset import Dataset, from_arrays
from trainables.data.options import STRETCHED
from trainables.data.stratify import stratified_rows
from trainables.files import download
from trainables.files.download import OfficialFile, fetch
from trainables.sources import cifar10, cluttered_digits
from trainables.sources import digits as digits_source
from trainables.sources.catalogue import check_image_options, find, names, needs_download
from trainables.sources.images import fetch_test_files
from trainables.sources.load import load, load_test

CONTENT = os.urandom(300_000)


def count_classes(y: torch.Tensor) -> list[int]:
    return torch.bincount(y).tolist()


def test_digits_are_split_by_class_into_training_validation_and_test() -> None:
    dataset = load("digits", "")
    test = load_test("digits", "")
    assert (len(dataset.train), len(dataset.validation), len(test)) == (1294, 144, 359)
    assert dataset.image_shape == (1, 8, 8)
    assert dataset.num_classes == 10
    assert set(count_classes(dataset.validation.y)) == {14, 15}
    assert set(count_classes(test.y)) == {35, 36, 37}
    assert (dataset.train.x.dtype, dataset.train.y.dtype) == (torch.uint8, torch.int64)
    assert int(dataset.train.x.max()) == 255
    values = dataset.train.x.double() / 255
    assert dataset.mean == pytest.approx([float(values.mean())])
    assert dataset.std == pytest.approx([float(values.std(correction=0))])


def test_cluttered_digits_are_the_digits_among_pieces_of_digits_of_the_same_part():
    plain, cluttered = load("digits", ""), load("cluttered_digits", "")
    assert (len(cluttered.train), len(cluttered.validation), cluttered.image_shape) == (1294, 144, (1, 16, 16))
    assert cluttered.train.y.bincount().tolist() == plain.train.y.bincount().tolist()
    assert cluttered.checksum == load("cluttered_digits", "", seed=3).checksum
    for test in (False, True):
        images, labels, classes = cluttered_digits.read(Path(), test=test)
        digits, same_labels, same_classes = digits_source.read(Path(), test=test)
        assert (labels == same_labels).all()
        assert classes == same_classes
        windows = np.lib.stride_tricks.sliding_window_view(images[..., 0].astype(int), (8, 8), axis=(1, 2))
        ink = digits[:, None, None, :, :, 0] > 128
        covered = ((windows > 64) & ink).sum((-1, -2)) == ink.sum((-1, -2))
        assert covered.any((1, 2)).mean() > 0.99, "the whole digit is in its image"
        assert (images > 128).sum() > 1.2 * (digits > 128).sum(), "with clutter around it"


def row_set(dataset: Dataset) -> tuple[set[bytes], set[bytes]]:
    train, validation = ({row.numpy().tobytes() for row in split.x} for split in (dataset.train, dataset.validation))
    return train, validation


def test_the_seed_decides_the_split_and_the_test_rows_are_in_none() -> None:
    (train, validation), again, other = (row_set(load("digits", "", seed=seed)) for seed in (0, 0, 1))
    assert (train, validation) == again
    assert validation != other[1]
    assert train | validation == other[0] | other[1]
    assert not (train | validation) & {row.numpy().tobytes() for row in load_test("digits", "").x}


def test_a_subset_is_stratified_and_split_like_the_whole() -> None:
    dataset = load("digits", "", train_size=200, validation_fraction=0.25)
    assert (len(dataset.train), len(dataset.validation)) == (150, 50)
    assert set(count_classes(dataset.validation.y)) == {5}
    assert dataset.checksum == load("digits", "", seed=3).checksum


def test_validation_fraction_zero_keeps_every_row_for_training() -> None:
    dataset = load("digits", "", validation_fraction=0)
    assert (len(dataset.train), len(dataset.validation)) == (1438, 0)
    assert dataset.validation.x.shape == (0, 1, 8, 8)


@pytest.mark.parametrize("train_size", [19, 1439, 0, -5])
def test_an_impossible_train_size_is_refused(train_size: int) -> None:
    with pytest.raises(ValueError, match=rf"--train-size must lie in \[20, 1438\] .*, got {train_size}; leave it out"):
        load("digits", "", train_size=train_size)


@pytest.mark.parametrize("fraction", [-0.1, 0.6, float("nan")])
def test_an_impossible_validation_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=rf"validation_fraction must lie in \[0, 0.5\], got {fraction}"):
        load("digits", "", validation_fraction=fraction)


def test_the_smallest_subset_has_every_class_on_both_sides() -> None:
    dataset = load("digits", "", train_size=20, validation_fraction=0.5)
    assert count_classes(dataset.train.y) == count_classes(dataset.validation.y) == [1] * 10


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown data set 'cifar'; available: digits, .* \(did you mean cifar10\?\)"):
        load("cifar", "")
    with pytest.raises(
        ValueError, match="--image-size is for a folder of your own images, but digits has its own form"
    ):
        load("digits", "", images=replace(STRETCHED, size=8))
    with pytest.raises(ValueError, match="is for a folder of your own images, but your data are a table; leave it out"):
        check_image_options("csv", replace(STRETCHED, size=32))
    assert {"digits", "fashion_mnist", "cifar10", "image_folder"} <= set(names())


def test_stratified_rows_keep_to_the_shares_and_leave_no_class_empty_or_used_up() -> None:
    y = np.repeat([0, 1, 2], [900, 97, 3])
    rows = stratified_rows(y, 100, np.random.default_rng(0))
    assert np.bincount(y[rows]).tolist() == [90, 9, 1]
    assert len(set(rows.tolist())) == 100
    rows = stratified_rows(y, 990, np.random.default_rng(0))
    assert np.bincount(y[rows]).tolist() == [892, 96, 2]
    targets = np.linspace(0, 1, 50, dtype=np.float32)
    assert len(set(stratified_rows(targets, 20, np.random.default_rng(0)).tolist())) == 20


def test_arrays_come_back_as_the_same_data_set_over_the_same_memory() -> None:
    dataset = load("digits", "")
    arrays = dataset.arrays()
    for value in arrays.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False  # as out of Ray's object store; a warning would fail this test
    again = from_arrays(arrays)
    for old, new in ((dataset.train, again.train), (dataset.validation, again.validation)):
        assert new.x.data_ptr() == old.x.data_ptr()
        assert new.y.data_ptr() == old.y.data_ptr()
        assert torch.equal(new.x, old.x)
        assert new.x.is_contiguous(memory_format=torch.channels_last)
    assert again.checksum == dataset.checksum
    assert again.to("cpu").classes == dataset.classes


# Official files, damaged in every way


def place(folder: Path, content: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x1f\x8b" + bytes(1000), "it has 1,002 bytes, the official file 26,421,880"),
        (b"<!DOCTYPE html><html>404</html>", "the official file 26,421,880; it is a web page"),
        (bytes(26421880), "sha256 .*, the official file 3aede38d6186"),
        (b"", "it has 0 bytes"),
    ],
    ids=["truncated", "web page", "wrong checksum", "empty"],
)
def test_a_damaged_fashion_mnist_file_is_named_in_one_line(tmp_path: Path, data: bytes, problem: str) -> None:
    place(tmp_path / "FashionMNIST" / "raw", {"train-images-idx3-ubyte.gz": data})
    with pytest.raises(ValueError, match=rf"train-images-idx3-ubyte.gz is damaged .*{problem}.*delete it") as error:
        load("fashion_mnist", tmp_path)
    assert "\n" not in str(error.value)


def test_a_fake_of_eight_images_is_refused(tmp_path: Path) -> None:
    fake = gzip.compress(b"\0\0\x08\x03" + (8).to_bytes(4, "big") + 2 * (28).to_bytes(4, "big") + bytes(8 * 784))
    place(tmp_path / "FashionMNIST" / "raw", {"train-images-idx3-ubyte.gz": fake})
    with pytest.raises(ValueError, match="damaged or not the official file"):
        load("fashion_mnist", tmp_path)


class Malicious:
    def __reduce__(self) -> tuple:
        return (os.mkdir, ("touched",))


def test_a_malicious_cifar_pickle_is_refused_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place(tmp_path / "cifar-10-batches-py", {file.name: pickle.dumps(Malicious()) for file in cifar10._TRAIN})
    with pytest.raises(ValueError, match="data_batch_1 is damaged or not the official file"):
        load("cifar10", tmp_path)
    assert not Path("touched").exists()


def make_archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def describe(name: str, data: bytes, *, url: str = "") -> OfficialFile:
    return OfficialFile(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest(), url=url)


def test_an_archive_that_is_not_the_official_one_is_not_unpacked(tmp_path: Path) -> None:
    archive = make_archive({"../evil": b"evil", "cifar-10-batches-py/data_batch_1": b"fake"})
    place(tmp_path / "data", {"cifar-10-python.tar.gz": archive})
    with pytest.raises(ValueError, match="cifar-10-python.tar.gz is damaged or not the official file"):
        load("cifar10", tmp_path / "data")
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "cifar-10-python.tar.gz"]


def test_unpacking_takes_the_files_asked_for_and_no_other_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.zeros((10_000, 3072), np.uint8)
    images[:, 1024] = 7  # the first green value
    batch = pickle.dumps({"data": images, "labels": [3] * 10_000})
    members = {"../evil": b"evil", "cifar-10-batches-py/test_batch": batch, "cifar-10-batches-py/data_batch_1": b""}
    archive = make_archive(members)
    place(tmp_path / "data", {"cifar-10-python.tar.gz": archive})
    monkeypatch.setattr(cifar10, "_ARCHIVE", describe("cifar-10-python.tar.gz", archive))
    monkeypatch.setattr(cifar10, "_TEST", (describe("test_batch", batch),))
    test = load_test("cifar10", tmp_path / "data")
    assert test.x.shape == (10_000, 3, 32, 32)
    assert test.x[5].sum(dim=(1, 2)).tolist() == [0, 7, 0]
    assert count_classes(test.y) == [0, 0, 0, 10_000]
    assert not (tmp_path / "evil").exists()
    assert {path.name for path in (tmp_path / "data" / "cifar-10-batches-py").iterdir()} == {
        "test_batch",
        ".rungwise.lock",
    }


# Test files, looked at by name and size before they are opened


@pytest.mark.parametrize(
    ("name", "file"), [("fashion_mnist", "t10k-images-idx3-ubyte"), ("cifar10", "cifar-10-python")]
)
def test_test_files_that_are_missing_are_noticed_before_they_are_opened(name, file, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(FileNotFoundError, match=f"{file}.*is missing and could not be downloaded"):
        fetch_test_files(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "folder", "wrong"),
    [
        ("fashion_mnist", "FashionMNIST/raw", "t10k-images-idx3-ubyte"),
        ("fashion_mnist", "FashionMNIST/raw", "t10k-images-idx3-ubyte.gz"),
        ("cifar10", "cifar-10-batches-py", "test_batch"),
    ],
)
def test_test_files_of_another_size_are_named_before_they_are_opened(name, folder, wrong, tmp_path) -> None:
    place(tmp_path / folder, {wrong: b"<html>"})
    with pytest.raises(ValueError, match=f"{wrong} is damaged or not the official file: it has"):
        fetch_test_files(name, tmp_path)


@pytest.mark.parametrize("name", ["digits", "csv", "image_folder", "california_housing"])
def test_other_data_sets_have_no_test_files_of_their_own(name, tmp_path) -> None:
    fetch_test_files(name, tmp_path)


# Bombs: small files that would unpack to hundreds of megabytes

BOMB_BYTES = 256 << 20
WEIGHED = """
import sys
from trainables.sources.load import load
def most():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = most()
try:
    load(sys.argv[1], sys.argv[2])
except ValueError as error:
    print(error)
print(most() - before)
"""
"""What was said, and by how many KB the most memory grew. (`ru_maxrss` would begin with that of this process.)"""


def archive_bomb(folder: Path) -> None:
    place(folder, {"cifar-10-python.tar.gz": make_archive({"cifar-10-batches-py/data_batch_1": bytes(BOMB_BYTES)})})


def packed_bomb(folder: Path) -> None:
    place(folder / "FashionMNIST" / "raw", {"train-images-idx3-ubyte.gz": gzip.compress(bytes(BOMB_BYTES), 1)})


def image_bomb(folder: Path) -> None:
    """In each class an image of 20,000 by 20,000 pixels, one bit each."""
    side, chunks = 20_000, []
    rows = zlib.compress((b"\0" + bytes(side // 8)) * side, 1)
    for name, data in ((b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")):
        chunks.append(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    image = b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    for label in ("cat", "dog"):
        place(folder / "train" / label, {f"{number}.png": image for number in range(4)})


@pytest.mark.skipif(sys.platform != "linux", reason="memory is weighed by /proc")
@pytest.mark.parametrize(
    ("name", "plant", "message"),
    [
        ("cifar10", archive_bomb, "cifar-10-python.tar.gz is damaged or not the official file"),
        ("fashion_mnist", packed_bomb, "train-images-idx3-ubyte.gz is damaged or not the official file"),
        ("image_folder", image_bomb, "8 of 8 images have too many pixels"),
    ],
)
def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, name: str, plant: Callable[[Path], None], message: str
) -> None:
    plant(tmp_path / "data")
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 8 << 20
    done = subprocess.run(
        [sys.executable, "-c", WEIGHED, name, str(tmp_path / "data")],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *said, grown = done.stdout.splitlines()
    assert message in "".join(said)
    assert int(grown) << 10 < BOMB_BYTES // 4


@pytest.mark.parametrize(
    ("name", "size"), [("cifar10", r"cifar-10-python.tar.gz \(170,498,071 bytes\)"), ("fashion_mnist", "26,421,880")]
)
def test_missing_data_without_a_network_says_what_how_large_and_where_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: str
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there, whatever network this machine has
    started = time.monotonic()
    with pytest.raises(
        FileNotFoundError, match=rf"{size}.* is missing .*put it into {tmp_path}.* from https://"
    ) as error:
        load(name, tmp_path)
    assert time.monotonic() - started < 15
    assert "\n" not in str(error.value)


# Downloads, from a server with a certificate of its own


class Server:
    """Serves `content` under any path; `delays` holds a request back halfway until it is set."""

    def __init__(self, certificate: Path) -> None:
        self.content, self.redirect, self.requests = CONTENT, "", 0
        self.halfway, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                self.send_response(302 if outer.redirect else 200)
                self.send_header("Location", outer.redirect)
                self.end_headers()
                half = len(outer.content) // 2
                try:
                    self.wfile.write(outer.content[:half])
                    self.wfile.flush()
                    outer.halfway.set()
                    outer.go_on.wait(20)
                    self.wfile.write(outer.content[half:])
                except OSError:  # the other side was killed or has heard enough
                    return

            def log_message(self, *_: object) -> None:
                return

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self.http.server_address[1]}/file.bin"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", f"{path}.certificate"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed: no certificate for a server")
    path.write_bytes(path.read_bytes() + Path(f"{path}.certificate").read_bytes())
    return path


@pytest.fixture
def server(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("no_proxy", "localhost")
    server = Server(certificate)
    yield server
    server.go_on.set()
    server.http.shutdown()
    server.http.server_close()


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".rungwise.lock")


def test_a_download_that_is_the_official_file_is_kept_and_not_repeated(tmp_path: Path, server: Server) -> None:
    file = describe("file.bin", CONTENT, url=server.url)
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert fetch(file, tmp_path) == tmp_path / "file.bin"
    assert left_over(tmp_path) == ["file.bin"]
    assert server.requests == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "sha256 .*, the official file"),
        (lambda data: data[:1000], "it has 1,000 bytes, the official file 300,000"),
        (lambda data: data * 20, "the official file 300,000"),
        (lambda data: b"<html>" + data[6:], "it is a web page"),
    ],
    ids=["one bit", "truncated", "endless", "web page"],
)
def test_a_download_of_anything_else_is_refused_and_not_kept(
    tmp_path: Path, server: Server, change: Callable[[bytes], bytes], problem: str
) -> None:
    server.content = change(CONTENT)
    with pytest.raises(ValueError, match=rf"file.bin is damaged or not the official file: .*{problem}"):
        fetch(describe("file.bin", CONTENT, url=server.url), tmp_path)
    assert left_over(tmp_path) == []


def test_a_download_is_over_https_only_and_cannot_be_led_elsewhere(tmp_path: Path, server: Server) -> None:
    with pytest.raises(ValueError, match="downloads must use https, got http://localhost/"):
        fetch(describe("file.bin", CONTENT, url="http://localhost/file.bin"), tmp_path)
    server.redirect = "http://localhost/file.bin"
    with pytest.raises(ValueError, match="downloads must use https, got http://localhost/"):
        fetch(describe("file.bin", CONTENT, url=server.url), tmp_path)


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_CONNECT_SECONDS", 0.3)
    with http.server.socketserver.TCPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as silent:
        url = f"https://127.0.0.1:{silent.server_address[1]}/file.bin"
        with pytest.raises(FileNotFoundError, match="file.bin .* could not be downloaded"):
            fetch(describe("file.bin", CONTENT, url=url), tmp_path)


def test_of_two_processes_that_fetch_at_once_one_may_be_killed(tmp_path: Path, server: Server) -> None:
    file = describe("file.bin", CONTENT, url=server.url)
    code = (
        f"from pathlib import Path; from trainables.files.download import *; fetch({file!r}, Path({str(tmp_path)!r}))"
    )
    server.go_on.clear()
    killed = subprocess.Popen([sys.executable, "-c", code])
    assert server.halfway.wait(200)
    waiting = subprocess.Popen([sys.executable, "-c", code])
    time.sleep(0.5)
    assert waiting.poll() is None
    assert not (tmp_path / "file.bin").exists()
    killed.kill()
    killed.wait()
    server.go_on.set()
    assert waiting.wait(200) == 0
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert left_over(tmp_path) == ["file.bin"]


# The real data sets


@pytest.mark.parametrize("name", ["digits", "diabetes", "breast_cancer"])
def test_the_sizes_known_beforehand_are_those_of_the_rows(name: str) -> None:
    dataset = load(name, "nowhere")
    assert (len(dataset.train) + len(dataset.validation), dataset.num_classes) == find(name).size


@pytest.mark.data
@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "california_housing"])
def test_the_sizes_known_beforehand_are_those_of_the_real_rows(data_dir: Path, name: str) -> None:
    dataset = load(name, data_dir)
    assert (len(dataset.train) + len(dataset.validation), dataset.num_classes) == find(name).size


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "num_rows", "shape", "mean", "std"),
    [
        ("fashion_mnist", 60_000, (1, 28, 28), [0.28604], [0.35302]),
        ("cifar10", 50_000, (3, 32, 32), [0.49140, 0.48216, 0.44653], [0.24703, 0.24349, 0.26159]),
    ],
)
def test_the_real_data_have_their_known_counts_and_moments(
    data_dir: Path, name: str, num_rows: int, shape: tuple[int, ...], mean: list[float], std: list[float]
) -> None:
    dataset = load(name, data_dir, validation_fraction=0)
    assert dataset.train.x.shape == (num_rows, *shape)
    assert count_classes(dataset.train.y) == [num_rows // 10] * 10
    assert dataset.mean == pytest.approx(mean, abs=1e-5)
    assert dataset.std == pytest.approx(std, abs=1e-5)
    test = load_test(name, data_dir)
    assert test.x.shape == (10_000, *shape)
    assert count_classes(test.y) == [1_000] * 10


@pytest.mark.data
def test_the_real_images_are_those_of_torchvision(data_dir: Path) -> None:
    from torchvision.datasets import CIFAR10

    ours, theirs = load_test("cifar10", data_dir), CIFAR10(str(data_dir), train=False, download=False)
    assert np.array_equal(ours.x.permute(0, 2, 3, 1).numpy(), theirs.data)
    assert ours.y.tolist() == theirs.targets


@pytest.mark.data
def test_loading_needs_no_test_file_and_packed_files_do(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for part in ("images-idx3", "labels-idx1"):
        os.symlink(data_dir / "FashionMNIST" / "raw" / f"train-{part}-ubyte.gz", folder / f"train-{part}-ubyte.gz")
    packed, unpacked = load("fashion_mnist", tmp_path), load("fashion_mnist", data_dir)
    assert packed.checksum == unpacked.checksum
    assert torch.equal(packed.validation.x, unpacked.validation.x)
    with pytest.raises(FileNotFoundError, match="t10k-images-idx3-ubyte.gz"):
        load_test("fashion_mnist", tmp_path)


def test_every_data_set_that_can_be_read_is_in_the_catalogue_and_no_other():
    files = (ROOT / "trainables" / "sources").glob("*.py")
    assert len(names()) == sum("\nSOURCE = Source(" in file.read_text() for file in files)
    assert all(find(name).about.endswith(".") for name in names())


@pytest.mark.data
@pytest.mark.parametrize("name", [name for name in names() if find(name).size])
def test_what_is_in_the_folder_of_the_data_needs_no_download(name: str, data_dir: Path, tmp_path: Path):
    assert not needs_download(name, data_dir)
    assert needs_download(name, tmp_path) == bool(find(name).files)
