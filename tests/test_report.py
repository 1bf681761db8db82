"""The report, from a run folder to a page in a browser."""

import re
import sqlite3
import threading
from contextlib import closing
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from analysis import report
from analysis.pages.templates import names
from analysis.plots.svg import checked
from search.process.arguments import report_fault
from tests.browser import CHROMIUM, browser
from tests.searching import ROOT
from tests.stored import store
from tests.synthetic import make_study


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = store(make_study(64, seed=1, failures=2, running=1), tmp_path_factory.mktemp("runs") / "synthetic")
    assert report.main([str(folder)]) == 0
    return folder / "report" / "index.html"


def test_the_page_stands_alone_with_figures_and_tables_beside_it(page):
    text = page.read_text()
    assert not re.findall(r'(?:src|href)="(?!#|data:)', text)
    figures = {p.stem for p in (page.parent / "figures").glob("*.svg")}
    assert figures == {p.stem for p in (page.parent / "figures").glob("*.png")}
    assert len(figures) >= 15
    assert {"trials", "epochs", "effects", "importance", "what_if"} <= {
        p.stem for p in (page.parent / "tables").glob("*.csv")
    }


def test_the_page_is_accessible_html(page):
    text = page.read_text()
    assert '<html lang="en">' in text
    assert len(re.findall(r"<svg", text)) == len(re.findall(r'<svg role="img" aria-label="[^"]{10,}"', text))
    assert all('scope="col"' in head for head in re.findall(r"<th[ >][^>]*", text))
    assert len(re.findall(r"<table", text)) == len(re.findall(r"<caption>", text))
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)), "ids are unique on the page"
    assert re.findall(r"<h(\d)", text)[0] == "1"


def test_the_summary_names_the_best_trial_and_what_mattered(page):
    summary = re.search(r'id="summary".*?</section>', page.read_text(), re.S)
    assert summary
    assert "What mattered most" in summary[0]
    assert "Too few trials to tell what matters at the full budget of 27 epochs" in summary[0]
    assert "the baseline reached 71.26\u00a0%" in summary[0]
    assert "95\u00a0% interval from" in summary[0]
    assert "Measure the result on the sealed test set: python -m analysis.final" in summary[0]


def test_effects_on_early_learning_have_a_section_of_their_own_and_one_importance_is_open(page):
    text = page.read_text()
    summary, early = (re.search(rf'id="{name}".*?</section>', text, re.S) for name in ("summary", "early"))
    assert summary
    assert early
    assert "batch_norm: on is better than off by " in early[0]
    assert "batch_norm: on is better" not in summary[0]
    impact = re.search(r'id="impact".*?</section>', text, re.S)
    assert impact
    opened = re.sub(r"<details.*?</details>", "", impact[0], flags=re.S)
    assert re.findall(r'aria-label="([^"]*importance[^"]*)"', opened) == [
        "Bars of importance with intervals and the level of noise"
    ]


def test_the_study_is_left_as_it_was_and_the_report_goes_where_it_is_told(tmp_path):
    folder = store(make_study(3), tmp_path / "run")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert report.main([str(folder), "--out", str(tmp_path / "elsewhere")]) == 0
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert (tmp_path / "elsewhere" / "index.html").exists()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_trials_make_a_page_that_says_what_is_missing(tmp_path, count):
    folder = store(make_study(count, stop=False), tmp_path / "few")
    assert report.main([str(folder)]) == 0
    text = (folder / "report" / "index.html").read_text()
    assert "Importance needs at least 20 trials" in text
    assert ("The study is empty" in text) == (count == 0)


def test_a_study_of_failures_alone_names_the_causes(tmp_path):
    folder = store(make_study(1, failures=6), tmp_path / "failed")
    assert report.main([str(folder)]) == 0
    assert "6 diverged" in (folder / "report" / "index.html").read_text()


def test_a_study_by_plain_optuna_becomes_a_page(tmp_path):
    study = optuna.create_study()
    study.optimize(lambda t: t.suggest_float("x", -1, 1) ** 2 + t.suggest_int("n", 1, 9), n_trials=6)
    folder = store(study, tmp_path / "plain", plain=True)
    assert report.main([str(folder)]) == 0
    assert "A study without run.json" in (folder / "report" / "index.html").read_text()


def test_markup_and_control_characters_in_values_are_escaped(tmp_path):
    study = make_study(4)
    evil = "<script>alert(1)</script>\x1b]0;x\x07"
    study.add_trial(
        create_trial(
            state=TrialState.FAIL,
            user_attrs={"failure": evil},
            params={evil: "=1"},
            distributions={evil: optuna.distributions.CategoricalDistribution(["=1", "<b>"])},
        )
    )
    folder = store(study, tmp_path / "evil")
    assert report.main([str(folder)]) == 0
    text = (folder / "report" / "index.html").read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    HTMLParser().feed(text)


def test_a_report_is_made_while_a_search_writes(tmp_path):
    folder = store(make_study(10), tmp_path / "busy")
    writer = optuna.load_study(study_name="synthetic", storage=f"sqlite:///{folder}/study.db")
    more, stop = make_study(200, seed=9).trials, threading.Event()

    def write() -> None:
        for trial in more:
            if stop.is_set():
                return
            writer.add_trial(trial)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert report.main([str(folder)]) == 0
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "'nowhere' is not a folder; give the folder of a run"),
        (["tests"], "'tests' is not a run"),
        (["tests", "--confirm", "1"], "--confirm must be 0, or at least 2"),
        (["tests", "--wrong"], "see python -m analysis.report --help"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert report.main(words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    folder = store(make_study(3), tmp_path / "run")
    (folder / "report").write_text("a file where the folder should be")
    assert report.main([str(folder)]) == 2
    said = capsys.readouterr().err
    assert str(folder / "report") in said
    assert "--out" in said


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("sgd_weight_decay", "sgd_<wbr>weight_<wbr>decay"),
        ("/data/my_runs/first_one", "/data/my_runs/first_one"),
        ("ghp_0123456789abcdef0123", "ghp_0123456789abcdef0123"),
        ("a_b <i>", "a_b &lt;i&gt;"),
        ("lr", "lr"),
    ],
)
def test_only_short_names_may_break_so_that_paths_and_secrets_stay_in_one_piece(text: str, html: str):
    assert str(names(text)) == html


@pytest.mark.browser
def test_a_real_browser_shows_all_figures_sorts_tables_and_logs_no_error(page):
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    probe = """(() => {
      const svgs = [...document.querySelectorAll("figure svg")].filter((svg) => svg.getClientRects().length);
      const drawn = (svg) => svg.getBoundingClientRect().width > 100 && svg.querySelectorAll("path,text").length > 3;
      const table = document.querySelector("#table-trials"), button = table.querySelectorAll("th button")[3];
      const keys = () => [...table.tBodies[0].rows].map((r) => r.children[3].dataset.key);
      const read = () => keys().filter((k) => k !== "").map(Number);
      button.click(); const up = read(); button.click(); const down = read();
      const sorted = (v, s) => v.every((x, i) => i === 0 || s * (x - v[i - 1]) >= 0);
      const undrawn = svgs.filter((svg) => !drawn(svg)).length;
      return [svgs.length, undrawn, sorted(up, 1), sorted(down, -1), button.parentElement.ariaSort];
    })()"""
    with browser() as tab:
        tab.size(1280)
        tab.open(page)
        tab.evaluate("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
        tab.settle()
        count, *found = tab.evaluate(probe)
    assert tab.problems == []
    assert count >= 25
    assert found == [0, True, True, "descending"], "every figure shows, and the table sorts"


def test_a_search_that_ended_before_its_first_trial_is_told_in_plain_words(tmp_path):
    folder = store(make_study(0), tmp_path / "empty")
    assert report.main([str(folder)]) == 0
    text = (folder / "report" / "index.html").read_text()
    assert "its time budget ended, before the first trial started. Continue it with --resume" in text
    assert "saved" not in re.sub(r"<(script|style).*?</\1>", "", text, flags=re.S)
    assert "What mattered most" not in text


def test_epochs_that_are_merely_unfinished_do_not_count_as_saved(tmp_path):
    folder = store(make_study(3, running=3), tmp_path / "running")
    assert report.main([str(folder)]) == 0
    text = (folder / "report" / "index.html").read_text()
    assert "early stopping saved" not in text
    assert "No trial was stopped early" not in text
    assert "3 trials have not been continued beyond epoch " in text


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("confirm/results.csv", "", 2, r"results.csv is damaged \(.*\); remove it, or train again with --confirm"),
        ("confirm/results.csv", "flip,seed\nbest,1\n", 2, r"results.csv is damaged \(.*value.*\); remove it"),
        ("confirm/results.csv", "\x00\x01", 2, r"results.csv is damaged"),
        (
            "final/final.json",
            '{"format": 1}',
            0,
            r"note: the final evaluation cannot be shown: .*final.json is damaged",
        ),
        ("final/final.json", '{"format": 1, "entrants": [], "winner": 3}', 0, r"final.json is damaged"),
        ("study.db", "no database at all", 2, r"study.db is damaged"),
        ("run.json", "[", 2, r"run.json is damaged"),
    ],
)
def test_a_damaged_file_of_a_run_is_named_in_one_line(name, content, code, message, tmp_path, capsys):
    folder = store(make_study(3), tmp_path / "run")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    assert report.main([str(folder)]) == code
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE trials SET state = 'BOGUS' WHERE number = 1",
        "UPDATE trials SET number = NULL WHERE number = 1",
        "UPDATE trial_params SET distribution_json = '{}'",
        "UPDATE trial_user_attributes SET value_json = '{'",
        "DELETE FROM study_directions",
    ],
)
def test_damage_inside_a_study_is_one_line_unless_the_traceback_is_asked_for(damage, tmp_path, capsys):
    folder = store(make_study(3), tmp_path / "run")
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        connection.execute(damage)
        connection.commit()
    assert report.main([str(folder)]) in (1, 2)
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    with pytest.raises(Exception, match=r"."):
        report.main([str(folder), "--debug"])


@pytest.mark.parametrize("name", ["report", "docs", "case_study"])
def test_an_error_that_no_rule_foresaw_is_one_line_and_code_1(name, capsys, monkeypatch):
    assert report_fault(KeyError("a\nb" + "x" * 9_000), debug=False) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: KeyError: 'a\\nbxxx")
    assert said.endswith("; add --debug to see where\n")
    assert len(said) < 400
    with pytest.raises(KeyError, match="asked"):
        report_fault(KeyError("asked"), debug=True)
    with pytest.raises(SystemExit) as stop:
        import_module(f"analysis.{name}").main(["--help"])
    assert stop.value.code in (0, None)
    assert "--debug" in capsys.readouterr().out


def test_an_image_in_the_final_figures_of_somebody_else_cannot_act_on_the_page():
    plain = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt">{}</svg>'
    assert checked(plain.format('<g id="a"><text style="fill: #1b1f24">bag &lt;b&gt;</text></g>'))
    for evil in (
        "<script>alert(1)</script>",
        '<g onload="alert(1)"/>',
        '<a href="javascript:alert(1)"/>',
        '<use xlink:href="https://example.org/x.svg#a"/>',
        '<image href="https://example.org/x.png"/>',
        "<style>* { display: none }</style>",
        '<path style="fill: url(https://example.org/x)"/>',
        "<foreignObject/>",
        "<unclosed>",
    ):
        assert checked(plain.format(evil)) is None, evil
    hidden = checked(plain.format("<text>a</text><?x <script>alert(1)</script>?><!-- <script> -->"))
    assert hidden is not None
    assert "script" not in hidden
