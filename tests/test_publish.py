"""Publishing is whole or not at all: whatever ends it, the run and the earlier publication are as they were."""

import html
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from analysis import publish
from search.process.signals import signals_restored
from search.storage.run import read_run, write_run
from search.storage.study import open_study
from tests.disks import fill, small_disk
from tests.searching import ROOT
from tests.stored import contents, store
from tests.synthetic import make_study
from trainables.files.whole import remove

__all__ = ["small_disk"]
NAME = "synthetic"


@pytest.fixture(autouse=True)
def _signals():
    with signals_restored():
        yield


def make_run_folder(parent: Path) -> Path:
    """A run with a page, two figures and a final evaluation after one opening of the test set."""
    run = store(make_study(3), parent / NAME)
    final, report = run / "final", run / "report"
    for folder in (final / "figures", final / "tables", final / "training", report / "figures", report / "tables"):
        folder.mkdir(parents=True)
    (report / "index.html").write_text("<p>300 test rows, opened once, after all training had finished.</p>")
    (report / "tables" / "a.csv").write_text("a\n1\n")
    for path in (report / "figures" / "a.png", final / "figures" / "b.png"):
        Image.new("RGB", (400, 300), "red").save(path)
    line = {"when": "2026-01-05T00:00:00.000+00:00", "why": "first evaluation", "command": "c", "checksum": "ab"}
    (final / "openings.jsonl").write_text(json.dumps(line) + "\n")
    (final / "final.json").write_text(json.dumps({"format": 0, "openings": 1, "opened": [line]}))
    (final / "README.md").write_text("On 300 test rows, opened once, mean over 2 networks, with 95 % intervals over\n")
    (final / "model.safetensors").write_bytes(bytes(100))
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return make_run_folder(tmp_path / "runs")


def published(run: Path, to: Path, *words: str) -> int:
    return publish.main([str(run), "--to", str(to), *words])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def change(run: Path) -> None:
    """Something that a later publication of the run shows."""
    Image.new("RGB", (400, 300), "blue").save(run / "report" / "figures" / "a.png")


# Into itself


@pytest.mark.parametrize("place", ["runs", "link", "runs/../runs", "link/nested"])
def test_a_run_is_not_published_onto_itself_or_into_itself_by_whatever_path(run, tmp_path, capsys, place):
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    (tmp_path / "runs" / "nested").symlink_to(tmp_path / "runs" / NAME)
    before = contents(tmp_path / "runs")
    assert published(run, tmp_path / place) == 2
    said = capsys.readouterr().err
    assert "publish to another folder with --to" in said
    assert len(said.splitlines()) == 1
    assert contents(tmp_path / "runs") == before
    assert published(tmp_path / "link" / NAME, tmp_path / place) == 2
    assert contents(tmp_path / "runs") == before


@pytest.mark.parametrize("link", ["to the run", "of the run"])
def test_a_link_in_the_place_of_the_publication_or_of_the_run_is_seen_through(run, tmp_path, capsys, link):
    before = contents(run)
    results = tmp_path / "results"
    results.mkdir()
    if link == "to the run":
        (results / NAME).symlink_to(run)
        assert published(run, results) == 2
    else:
        shutil.move(run, results / NAME)
        run.symlink_to(results / NAME)
        assert published(run, results) == 2
    assert "is the run itself" in capsys.readouterr().err
    assert contents(run) == before


def test_a_run_inside_its_own_publication_is_not_lost(run, tmp_path, capsys):
    assert published(run, tmp_path / "results") == 0
    inside = tmp_path / "results" / NAME / "report" / "copy"
    shutil.move(run, inside)
    before = contents(inside)
    assert published(inside, tmp_path / "results") == 2
    assert "is inside" in capsys.readouterr().err
    assert contents(inside) == before


def test_the_same_folder_mounted_twice_is_the_same(run, tmp_path, capsys):
    view = tmp_path / "view"
    view.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "--bind", run.parent, view], capture_output=True, check=False).returncode
    ):
        pytest.skip("bind mounts are not allowed here")
    before = contents(run)
    try:
        assert published(run, view) == 2
        assert published(view / NAME, run.parent) == 2
        assert published(run, view / NAME) == 2
    finally:
        subprocess.run(["umount", "-l", view], check=True)
    assert "the run itself" in capsys.readouterr().err
    assert contents(run) == before


def test_a_copy_of_the_run_with_its_checkpoints_is_not_taken_for_a_publication(run, tmp_path, capsys):
    (run / "checkpoints" / "trial-00000").mkdir(parents=True)
    backup = Path(shutil.copytree(run, tmp_path / "backup" / NAME))
    before = contents(backup)
    assert published(run, tmp_path / "backup") == 2
    assert "which is not part of a published run and would be lost" in capsys.readouterr().err
    shutil.rmtree(backup / "checkpoints")
    shutil.rmtree(backup / "final" / "training")
    assert published(run, tmp_path / "backup") == 2
    assert "contains final/model.safetensors" in capsys.readouterr().err
    (backup / "final" / "model.safetensors").unlink()
    (backup / "NOTES.md").write_text("mine")
    assert published(run, tmp_path / "backup") == 2
    assert "contains NOTES.md" in capsys.readouterr().err
    assert contents(backup) == {k: v for k, v in before.items() if "model" not in k} | contents(backup)


def test_files_that_a_publication_shares_with_the_run_by_hard_links_are_not_written_into(run, tmp_path):
    results = tmp_path / "results" / NAME
    shutil.copytree(run, results, copy_function=os.link)
    remove(results / "final" / "training")
    remove(results / "final" / "model.safetensors")
    before = contents(run)
    assert published(run, tmp_path / "results") == 0
    assert contents(run) == before


# Broken off


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("action", ["raise", "term"])
@pytest.mark.parametrize("first", [True, False])
def test_a_publication_that_is_broken_off_leaves_the_one_before(run, tmp_path, monkeypatch, stage, action, first):
    results = tmp_path / "results"
    if not first:
        assert published(run, results) == 0
    change(run)
    source, before = contents(run), contents(results)
    monkeypatch.setenv("RUNGWISE_FAULT", f"publish:{stage}:{action}")
    if action == "raise":
        with pytest.raises(RuntimeError, match="an injected fault"):
            published(run, results)
    else:
        assert published(run, results) == 128 + signal.SIGTERM
    assert contents(run) == source
    assert contents(results) == before
    monkeypatch.delenv("RUNGWISE_FAULT")
    assert published(run, results) == 0
    assert names(results) == [NAME]
    assert len(open_study(results / NAME).trials) == len(open_study(run).trials)


@pytest.mark.parametrize("first", [True, False])
def test_a_killed_publication_leaves_the_one_before_and_does_not_block_the_next(run, tmp_path, first):
    results = tmp_path / "results"
    if not first:
        assert published(run, results) == 0
    change(run)
    source, before = contents(run), contents(results / NAME)
    command = [sys.executable, "-m", "analysis.publish", str(run), "--to", str(results)]
    settings = {"env": {**os.environ, "RUNGWISE_FAULT": "publish:2"}, "cwd": ROOT, "timeout": 120}
    assert subprocess.run(command, check=False, **settings).returncode == -signal.SIGKILL
    assert contents(run) == source
    assert contents(results / NAME) == before
    assert published(run, results) == 0
    assert names(results) == [NAME]
    assert contents(results / NAME) != before


@pytest.mark.parametrize("damage", ["png", "html", "study"])
def test_a_damaged_file_of_the_run_is_named_and_costs_the_publication_before_nothing(run, tmp_path, capsys, damage):
    assert published(run, tmp_path / "results") == 0
    before = contents(tmp_path / "results")
    path = {
        "png": run / "report" / "figures" / "a.png",
        "html": run / "report" / "index.html",
        "study": run / "study.db",
    }[damage]
    path.write_bytes(path.read_bytes()[:100] + b"\xff\xfe")
    capsys.readouterr()
    assert published(run, tmp_path / "results") == 2
    said = capsys.readouterr().err
    assert path.name in said
    assert "damaged" in said
    assert contents(tmp_path / "results") == before


@pytest.mark.parametrize(
    "content",
    [b'{"format": 1, "entr', bytes(300), b"[]", b"{}", b'{"format": 1, "entrants": null}', b"\xff", b"[" * 100_000],
)
def test_damaged_results_are_refused_and_cost_the_publication_before_nothing(run, tmp_path, capsys, content):
    page = run / "report" / "index.html"
    page.write_text("<!-- final evaluation -->opened once<!-- end of the final evaluation -->")
    assert published(run, tmp_path / "results") == 0
    before = contents(tmp_path / "results")
    (run / "final" / "final.json").write_bytes(content)
    capsys.readouterr()
    assert published(run, tmp_path / "results") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {run / 'final' / 'final.json'} is damaged (")
    assert said.endswith(
        ("create it again", f"restore it from a copy, or evaluate again: python -m analysis.final {run} --again")
    )
    assert contents(tmp_path / "results") == before


@pytest.mark.parametrize("room", [0, 60_000])
def test_a_full_disk_is_named_with_its_room_and_leaves_nothing(small_disk, tmp_path, capsys, room):
    run = make_run_folder(tmp_path)
    change(run)
    fill(small_disk / "filler")
    if room:
        with (small_disk / "filler").open("r+b") as filler:
            filler.truncate(filler.seek(0, os.SEEK_END) - room)
    assert published(run, small_disk / "results") == 1
    said = capsys.readouterr().err
    assert f"{small_disk / 'results'} cannot be written" in said
    assert f"{small_disk} (tmpfs) has" in said
    assert not (small_disk / "results").exists() or names(small_disk / "results") == []
    (small_disk / "filler").unlink()
    assert published(run, small_disk / "results") == 0
    source, before = contents(run), contents(small_disk / "results")
    fill(small_disk / "filler")
    assert published(run, small_disk / "results") == 1
    assert contents(run) == source
    assert contents(small_disk / "results") == before


@pytest.mark.parametrize("left", [[], [".run.json.4711"]])
def test_what_an_earlier_release_left_of_a_first_publication_does_not_block_the_next(run, tmp_path, left):
    folder = tmp_path / "results" / NAME
    folder.mkdir(parents=True)
    for name in left:
        (folder / name).touch()
    assert published(run, tmp_path / "results") == 0
    assert read_run(folder).name == NAME


@pytest.mark.parametrize("kind", ["a file", "a folder of notes", "a dangling link"])
def test_something_else_by_that_name_stays(run, tmp_path, capsys, kind):
    place = tmp_path / "results" / NAME
    place.parent.mkdir()
    if kind == "a file":
        place.write_text("mine")
    elif kind == "a folder of notes":
        place.mkdir()
        (place / "NOTES.md").write_text("mine")
    else:
        place.symlink_to(tmp_path / "nowhere")
    assert published(run, place.parent) == 2
    assert "contains something else" in capsys.readouterr().err
    assert os.path.lexists(place)
    assert names(place.parent) == [NAME]


def test_a_reader_finishes_a_publication_that_was_killed_between_its_two_renames(run, tmp_path):
    results = tmp_path / "results"
    assert published(run, results) == 0
    before = contents(results / NAME)
    ready = results / f".{NAME}.ready"
    ready.mkdir()
    (ready / ".parts.json").write_text(json.dumps({"moved": [NAME], "removed": []}))
    (results / NAME).rename(ready / NAME)
    assert read_run(results / NAME).name == NAME
    assert contents(results) == {f"{NAME}/{name}": found for name, found in before.items()}


# What it says


def test_openings_since_the_page_was_made_are_counted_on_what_is_published(run, tmp_path, capsys):
    assert published(run, tmp_path / "results") == 0
    assert "opened once, mean over" in (tmp_path / "results" / NAME / "final" / "README.md").read_text()
    with (run / "final" / "openings.jsonl").open("a") as log:
        log.write('{"when": "2026-01-06T00:00:00.000+00:00", "why": "--again", "command": "c"}\n')
    capsys.readouterr()
    assert published(run, tmp_path / "results") == 2
    said = capsys.readouterr().err
    assert "opened 2 times, 1 of them without results; create it again: python -m analysis.report" in said
    page = run / "report" / "index.html"
    begin, end = "<!-- final evaluation -->", "<!-- end of the final evaluation -->"
    page.write_text(f"<h1>The page</h1>{begin}<p>300 test rows, opened once, after</p>{end}<p>The rest</p>")
    (run / "final" / "final.json").unlink()
    assert published(run, tmp_path / "results") == 0
    text = (tmp_path / "results" / NAME / "report" / "index.html").read_text()
    assert "The test set was opened 2 times by an evaluation that ended without results" in text
    assert text.startswith("<h1>The page</h1>")
    assert text.endswith("<p>The rest</p>")
    card = (tmp_path / "results" / NAME / "final" / "README.md").read_text()
    assert "opened 2 times, 2 of them without results, mean over" in card


@pytest.mark.parametrize("place", ["sing", "runs/sing", "./sing"])
def test_a_run_that_is_named_by_a_short_path_changes_no_other_words_of_the_page(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    run = make_run_folder(tmp_path / "runs").rename(tmp_path / Path(place))
    words = "missing, using sing-along; opened once. A sing a day; runs/singer"
    page = f"<p>{words}</p><p>python -m analysis.final {Path(place)} --top 2</p><p>{run.resolve()}</p>"
    (run / "report" / "index.html").write_text(page)
    assert published(Path(place), tmp_path / "results") == 0
    kept = f"<p>{words}</p><p>python -m analysis.final results/{NAME} --top 2</p><p>results/{NAME}</p>"
    assert (tmp_path / "results" / NAME / "report" / "index.html").read_text() == kept


def test_the_urls_of_database_and_checkpoints_are_in_nothing_that_is_published(run, tmp_path):
    url = "s3://key:s3cr3t@bucket/x?a=1&secret_key=s3cr3t"
    command = f"python -m search.run --storage {url} --trials 3"
    write_run(run, replace(read_run(run), storage=url, command=command))
    (run / "report" / "index.html").write_text(f"Search: {html.escape(command)}; opened once")
    (run / "report" / "tables" / "run.csv").write_text(f'command,"{command}"\nstorage,{url}\n')
    assert published(run, tmp_path / "results") == 0
    texts = [path.read_bytes() for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert len(texts) > 5
    assert not [text for text in texts if b"s3cr3t" in text]
    assert "--trials 3" in read_run(tmp_path / "results" / NAME).command


def test_no_secret_is_in_anything_that_is_published_wherever_the_run_has_it(run, tmp_path):
    url = "postgresql+psycopg://me@host/db?sslpassword=s3cr3t"
    said = f"could not connect to {url}; see postgresql://me:s3cr3t@host/db"
    line = {"when": "2026-01-05T00:00:00.000+00:00", "why": "first evaluation", "command": f"final {url}"}
    (run / "final" / "openings.jsonl").write_text(json.dumps(line) + "\n")
    (run / "final" / "final.json").write_text(json.dumps({"format": 0, "openings": 1, "opened": [line], "cause": said}))
    (run / "final" / "README.md").write_text(f"On 300 test rows, opened once, mean over. `{said}`\n")
    (run / "final" / "figures" / "c.txt").write_text(said)
    (run / "report" / "index.html").write_text(f"<p>{html.escape(said)}</p>opened once")
    (run / "confirm").mkdir()
    (run / "confirm" / "results.csv").write_text(f"error\n{said}\n")
    assert published(run, tmp_path / "results") == 0
    folder = tmp_path / "results" / NAME
    assert not [path for path in folder.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]
    assert "could not connect to" in (folder / "final" / "figures" / "c.txt").read_text()
    assert "sslpassword=***" in (folder / "final" / "final.json").read_text()


def test_why_a_figure_could_not_be_drawn_is_published_beside_the_figures(run, tmp_path):
    for figures in (run / "final" / "figures", run / "report" / "figures"):
        (figures / "odd.txt").write_text("ValueError: too many bins")
    assert published(run, tmp_path / "results") == 0
    folder = tmp_path / "results" / NAME
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("odd.txt"))
    assert found == ["final/figures/odd.txt", "report/figures/odd.txt"]


@pytest.mark.parametrize("place", ["my runs", "it's & <mine>", "größe"])
def test_no_folder_of_this_machine_is_in_what_is_published_however_it_is_quoted(run, tmp_path, place):
    parent, data = tmp_path / place, tmp_path / place / "a table.csv"
    shutil.move(run.parent, parent)
    command = shlex.join(
        ["python", "-m", "search.run", "--runs-dir", str(parent), "--data-dir", str(data), "--seed", "3"]
    )
    moved = parent / NAME
    write_run(moved, replace(read_run(moved), command=command, data_dir=str(data)))
    (moved / "report" / "index.html").write_text(f"{html.escape(command)} {html.escape(str(moved))} opened once")
    (moved / "final" / "final.json").write_text(json.dumps({"format": 0, "openings": 1, "command": command}))
    assert published(moved, tmp_path / "results") == 0
    folder = tmp_path / "results" / NAME
    assert read_run(folder).command == "python -m search.run --data-dir data --seed 3"
    texts = [p.read_text() for p in folder.rglob("*") if p.suffix in (".json", ".html", ".md", ".jsonl", ".csv")]
    assert len(texts) > 3
    assert not [text for text in texts if str(tmp_path) in text]


def test_a_published_run_can_be_published_again_under_another_name(run, tmp_path):
    assert published(run, tmp_path / "results") == 0
    assert published(tmp_path / "results" / NAME, tmp_path / "results", "--name", "again") == 0
    assert names(tmp_path / "results") == ["again", NAME]
    write_run(tmp_path / "results" / "again", replace(read_run(run), created="2020"))
    assert published(run, tmp_path / "results", "--name", "again") == 2
