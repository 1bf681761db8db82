"""The written evaluation is what the published studies give; these can be read, and hold no path of a machine."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from analysis import docs
from analysis.studies.trials import read_trials
from benchmarks import tables
from search.storage.run import read_run
from search.storage.study import open_study
from spaces import space
from tests.searching import ROOT

STUDIES = sorted(path.parent for path in (ROOT / "results").glob("*/run.json"))
REPORT = ROOT / "docs" / "report.md"


def test_the_evaluation_and_the_readme_are_what_results_give(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert docs.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("page", tables.PAGES)
def test_the_tables_of_a_page_are_those_of_the_measurements(page: str):
    text = (tables.DOCS / page).read_text()
    assert "<!-- end -->" in text
    assert tables.fill(text) == text, "write them with: python -m benchmarks.tables"
    changed = text.replace(" | 2", " | 3")
    assert tables.fill(changed) != changed


def test_the_version_is_the_same_wherever_it_is_stated():
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {stated}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {stated} " in (ROOT / "CHANGELOG.md").read_text()


def test_a_number_changed_by_hand_is_noticed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    changed = tmp_path / "report.md"
    changed.write_text(REPORT.read_text().replace(" %", " percent"))
    assert docs.main(["--check", "--out", str(changed)]) == 2
    assert "report.md does not match results; update it with: make docs" in capsys.readouterr().err


@pytest.mark.parametrize("page", [REPORT, ROOT / "docs" / "case-study.md", ROOT / "README.md"], ids=lambda p: p.name)
def test_every_picture_and_page_that_is_linked_exists(page):
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert targets
    assert not [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
class TestPublishedStudy:
    def test_its_parameters_are_those_of_its_space(self, study):
        run, stored = read_run(study), open_study(study)
        trials = stored.get_trials(deepcopy=False)
        assert (read_trials(stored, run).trials["state"] != "infeasible").sum() == run.trials
        for trial in trials:
            space.load(run.space).decode(trial.params)

    def test_its_record_is_of_this_study(self, study):
        results = json.loads((study / "final" / "final.json").read_text())
        best = next(entrant for entrant in results["entrants"] if entrant["name"] == results["winner"])
        if best["trial"] is not None:
            assert open_study(study).get_trials(deepcopy=False)[best["trial"]].params == best["params"]
        assert results["openings"] == len((study / "final" / "openings.jsonl").read_text().splitlines())

    def test_no_path_of_a_machine_and_no_checkpoint_is_in_it(self, study):
        files = [path for path in study.rglob("*") if path.is_file()]
        assert not [path for path in files if path.suffix in (".pt", ".safetensors")]
        texts = [path.read_text() for path in files if path.suffix in (".json", ".jsonl", ".md", ".csv", ".html")]
        assert not re.findall(r"(?<![\w./+=-])/(?:tmp|home|root|work|Users)/\w+", "\n".join(texts))
        assert sum(path.stat().st_size for path in files) < 10e6


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    targets = re.findall(r"\]\(([^)#:\s]+)\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []
