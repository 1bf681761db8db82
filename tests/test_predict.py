"""`analysis.predict` as a user meets it: right files, wrong files, pipes and signals."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import spaces.space
from analysis import predict
from analysis.model.image_answers import FIXED
from analysis.model.load import load_model
from analysis.model.output import check_added
from analysis.model.write import export_model
from analysis.prose.card import python_example
from tests.exported import Exported, export_digits
from tests.searching import ROOT
from trainables.data.grey_levels import Levels
from trainables.images import file as image_file
from trainables.sources.load import load
from trainables.training.training import Training


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_digits(tmp_path_factory.mktemp("predict") / "run")


@pytest.fixture
def image(exported: Exported, tmp_path: Path) -> Path:
    """The first test image, as a file of the model's own size."""
    path = tmp_path / "digit.png"
    Image.fromarray(exported.x[0, 0].numpy()).save(path)
    return path


def say(exported: Exported, *words: object) -> int:
    return predict.main([str(exported.run_dir), *map(str, words)])


def test_a_run_of_own_code_says_why_it_has_no_model_to_predict_with(tmp_path, capsys):
    (tmp_path / "run.json").write_text("{}")
    assert predict.main([str(tmp_path), "a.png"]) == 2
    assert "has no exported model; create it with: python -m analysis.final RUN" in capsys.readouterr().err
    (tmp_path / "run.json").write_text('{"source": {"files": []}}')  # an evaluation would not create one either
    assert predict.main([str(tmp_path), "a.png"]) == 2
    assert "was searched with your own code, so no model is exported" in capsys.readouterr().err


def test_an_image_gets_the_probabilities_of_the_model(exported, image, capsys):
    assert say(exported, image, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["probabilities"][str(exported.expected[0].argmax())] == pytest.approx(
        exported.expected[0].max(), abs=0.02
    )
    assert answer["class"] == str(exported.expected[0].argmax())
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["notes"] == []


def test_the_program_of_the_model_card_classifies_an_image_and_rows_of_numbers(
    exported, image, tmp_path, capsys, monkeypatch
):
    assert say(exported, image, "--json") == 0
    best = max(json.loads(capsys.readouterr().out)["probabilities"].values())
    monkeypatch.chdir(tmp_path)
    shutil.copy(image, tmp_path / "image.png")
    found: dict[str, Any] = {}
    facts = load_model(exported.run_dir).facts
    exec(python_example(facts, str(exported.run_dir)), found)
    assert found["outputs"].max() == pytest.approx(best)
    assert "torch.zeros(1, 30)" in python_example(facts | {"image_shape": [30]}, "runs/r")


def test_the_table_has_a_line_for_each_image_and_as_many_classes_as_asked(exported, image, capsys):
    assert say(exported, image, image, "--top", 2) == 0
    out = capsys.readouterr()
    assert len(out.out.splitlines()) == 2
    assert out.out.splitlines()[0].count(" %") == 2
    assert out.err == ""


def test_the_final_folder_serves_as_well_as_the_run(exported, image, capsys):
    assert predict.main([str(exported.final_dir), str(image)]) == 0


def test_another_size_is_resized_and_said(exported, image, capsys):
    Image.open(image).resize((20, 12)).save(image)
    assert say(exported, image) == 0
    assert "resized from 20x12 to 8x8" in capsys.readouterr().err


def test_a_colour_image_is_made_grey_and_said(exported, image, capsys):
    Image.open(image).convert("RGB").save(image)
    assert say(exported, image) == 0
    assert "a colour image was converted to grey" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_images_of_every_mode_are_read(exported, tmp_path, mode):
    path = tmp_path / "digit.tif"
    grey = Image.fromarray(exported.x[0, 0].numpy())
    found = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    found.save(path)
    pixels, _ = predict.read_image(str(path), shape=(1, 8, 8))
    assert pixels.shape == (1, 8, 8)
    assert pixels.dtype == np.uint8
    if mode not in ("1", "CMYK"):
        np.testing.assert_allclose(pixels[0].astype(int), np.asarray(grey).astype(int), atol=1)


def test_a_grey_image_for_a_model_of_colour_is_said(image):
    pixels, notes = predict.read_image(str(image), shape=(3, 8, 8))
    assert pixels.shape == (3, 8, 8)
    assert "a grey image was converted to colour" in notes


def test_files_that_are_no_images_are_named_and_the_others_answered(exported, image, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(image.read_bytes()[:60])
    (tmp_path / "empty.png").touch()
    bad = [tmp_path / name for name in ("text.png", "cut.png", "empty.png", "absent.png")]
    assert say(exported, *bad, tmp_path, image) == 2
    out = capsys.readouterr()
    assert len(out.out.splitlines()) == 1
    assert "text.png cannot be read as an image" in out.err
    assert "absent.png: there is no such file" in out.err
    assert "Is a directory" in out.err
    assert len([line for line in out.err.splitlines() if line.startswith("error:")]) == 5


def test_only_unreadable_files_leave_nothing_to_say(exported, tmp_path, capsys):
    assert say(exported, tmp_path / "absent.png") == 2
    assert capsys.readouterr().out == ""


def test_an_image_of_too_many_pixels_is_not_decoded(exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(image_file, "MAX_PIXELS", 100)
    Image.new("L", (11, 10)).save(tmp_path / "large.png")
    assert say(exported, tmp_path / "large.png") == 2
    assert "110 pixels, but at most 100 are allowed" in capsys.readouterr().err


def test_a_damaged_model_is_refused(exported, image, tmp_path, capsys):
    run = shutil.copytree(exported.run_dir, tmp_path / "run")
    weights = run / "final" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert predict.main([str(run), str(image)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_folder_without_a_model_says_how_to_make_one(tmp_path, image, capsys):
    assert predict.main([str(tmp_path), str(image)]) == 2
    assert "python -m analysis.final RUN" in capsys.readouterr().err


def test_control_characters_of_a_file_name_do_not_reach_the_terminal(exported, image, tmp_path, capsys):
    strange = tmp_path / "\x1b[31mred\nline.png"
    shutil.copy(image, strange)
    assert say(exported, strange) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 1


@pytest.fixture
def twelve_bits(tmp_path: Path) -> tuple[Path, Path]:
    """A run whose network was trained on PNG of a camera of 12 bits, and one of its training images."""
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "images" / "train" / ("dark", "light")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, (1000, 4096)[number % 2], (16, 16)).astype(np.uint16)).save(path)
    space = spaces.space.load("image_folder_arch")
    dataset = load("image_folder", tmp_path / "images", validation_fraction=0)
    training = Training(space.decode(space.baseline), dataset, epochs=1, seed=0)
    (tmp_path / "run" / "final").mkdir(parents=True)
    facts = {"space": "image_folder_arch", "params": dict(space.baseline), "seed": 0}
    export_model(tmp_path / "run" / "final", training, facts=facts)
    return tmp_path / "run", tmp_path / "images" / "train" / "light" / "1.png"


def test_deep_images_are_scaled_as_the_training_images_were(twelve_bits, tmp_path, capsys):
    run_dir, image = twelve_bits
    model = load_model(run_dir)
    assert model.levels == (Levels(kind="integer", low=0, high=4095),)
    pixels, notes = predict.read_image(str(image), shape=model.image_shape, levels=model.levels)
    dataset = load("image_folder", tmp_path / "images", validation_fraction=0)
    assert any(np.array_equal(pixels, row.numpy()) for row in dataset.train.x)
    assert notes == ("values from 0 (black) to 4,095 (white) became 0 to 255",)
    assert predict.main([str(run_dir), str(image), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    expected = dict(zip(model.classes, model.predict(torch.from_numpy(pixels[None]))[0].tolist(), strict=True))
    assert answer["probabilities"] == pytest.approx(expected)


def test_levels_that_were_changed_after_the_export_are_refused(twelve_bits, capsys):
    run_dir, image = twelve_bits
    path = run_dir / "final" / "model.json"
    facts = json.loads(path.read_text())
    for levels, message in (
        ([{"kind": "integer", "low": 0, "high": 65535}], "names the levels"),
        ([], "names the levels"),
        ([{"kind": "integer", "low": "a", "high": "b"}], "must describe its columns and levels"),
        ([{"kind": "x"}], "must describe its columns and levels"),
        (7, "must describe its columns and levels"),
    ):
        path.write_text(json.dumps({**facts, "levels": levels}))
        assert predict.main([str(run_dir), str(image)]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mode", "suffix", "cause"),
    [
        (
            "F",
            ".tif",
            ("it contains floating-point numbers (mode F), and the training images do not show which values are black"),
        ),
        (
            "I",
            ".tif",
            ("it contains 32-bit integers (mode I), and the training images do not show which values are black"),
        ),
    ],
)
def test_deep_images_that_training_images_were_not_like_are_refused(exported, tmp_path, capsys, mode, suffix, cause):
    Image.new(mode, (8, 8), 1).save(tmp_path / f"deep{suffix}")
    assert say(exported, tmp_path / f"deep{suffix}") == 2
    assert cause in capsys.readouterr().err


def test_sixteen_bits_are_taken_as_their_format_states_and_that_is_said(exported, image, tmp_path, capsys):
    values = np.asarray(Image.open(image)).astype(np.uint16)
    answers = []
    for factor, dtype, name in ((257, "<u2", "a.png"), (257, ">u2", "b.tif"), (257, "<u2", "c.pgm")):
        found = (values * factor).astype(dtype)
        made = Image.frombytes("I;16B", (8, 8), found.tobytes()) if dtype == ">u2" else Image.fromarray(found)
        made.save(tmp_path / name)
        assert say(exported, tmp_path / name, "--json") == 0
        out = capsys.readouterr()
        assert "values from 0 (black) to 65,535 (white) became 0 to 255" in out.err
        answers.append(json.loads(out.out)["probabilities"])
    assert say(exported, image, "--json") == 0
    assert answers == [json.loads(capsys.readouterr().out)["probabilities"]] * 3


def test_a_folder_is_answered_with_what_to_type(exported, tmp_path, capsys):
    folder = tmp_path / "my images"
    folder.mkdir()
    assert say(exported, folder) == 2
    assert f"Is a directory; give the images in it: '{folder}'/*" in capsys.readouterr().err


def run_command(*words: str, **pipes: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "analysis.predict", *words], cwd=ROOT, **pipes)  # pyright: ignore


@pytest.mark.slow
def test_an_image_may_come_from_a_pipe_and_the_answer_may_go_into_a_closed_one(exported, image):
    process = run_command(
        str(exported.run_dir), "-", "--json", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = process.communicate(image.read_bytes(), timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["file"] == "-"
    command = f"{sys.executable} -m analysis.predict {exported.run_dir} {image} | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0
    assert all(line.endswith(b" so far") for line in done.stderr.splitlines())  # on a machine that is busy


@pytest.mark.slow
def test_ctrl_c_ends_it_without_a_traceback(exported):
    import signal

    process = run_command(
        str(exported.run_dir), "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(bytes(200_000))  # more than a pipe holds: it is read, and the rest waited for
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_reading_from_the_standard_input_takes_the_whole_image(image, monkeypatch):
    class Input:
        buffer = io.BytesIO(image.read_bytes())

    monkeypatch.setattr(sys, "stdin", Input())
    assert predict.read_image("-", shape=(1, 8, 8))[0].shape == (1, 8, 8)


def test_a_form_of_images_that_was_changed_after_the_export_is_refused(twelve_bits, capsys):
    run_dir, image = twelve_bits
    path = run_dir / "final" / "model.json"
    facts = json.loads(path.read_text())
    assert facts["images"]["resize"] == "stretch"
    for images, message in (
        ({**facts["images"], "resize": "crop"}, "has the resize crop, but its weights were trained with stretch"),
        (
            {**facts["images"], "resize": "pad"},
            "must say in 'images' how an image becomes a square (resize must be one",
        ),
        (None, "has the images None, but its weights were trained with"),
    ):
        path.write_text(json.dumps({**facts, "images": images}))
        assert predict.main([str(run_dir), str(image)]) == 2
        assert message in capsys.readouterr().err


def test_notes_on_many_images_are_one_line_for_each_kind(exported, image, tmp_path, capsys):
    files = []
    for index in range(5):
        files.append(tmp_path / f"{index}.png")
        Image.open(image).convert("RGB").resize((20 + index, 12)).save(files[-1])
    assert say(exported, *files, image) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0] == f"note: 5 images, the first {files[0]}: a colour image was converted to grey"
    assert lines[1].startswith(f"note: 5 images, the first {files[0]}: ")
    assert lines[1].endswith("resized from 20x12 to 8x8 (numbers of the first)")


def test_a_class_named_as_a_column_of_the_file_is_refused(exported):
    with pytest.raises(ValueError, match="two columns with the name 'class', got a second one; leave it out"):
        check_added(FIXED, ("cat", "class"), way="leave it out")
