"""The interactive figures of the report: their data, and what a reader does with them in a real browser."""

import json
import math
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import optuna
import pytest
from markupsafe import Markup
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from analysis.pages.explorer import Bounds, trials_block
from analysis.pages.page import Folder, Fragment, Picture, Section, render, text
from analysis.pages.search import search
from analysis.studies.trials import Trials, config_of, read_trials
from tests.browser import CHROMIUM, Page, browser
from tests.synthetic import make_run, make_study

NAMES = ["batch_norm", "lr", "depth", "momentum", "width_0", "optimizer"]
LIVE = "history learning_curves pareto_weights pareto_seconds parallel slices".split()


def write(study: optuna.Study, folder: Path, names: list[str], *, still: bool = True) -> Path:
    """A page with the section on the search alone, with or without its still figures."""
    trials = read_trials(study, make_run())
    section = search(trials, Folder(folder), names=names) if still else Section(id="search", title="Search")
    long = Fragment(html=Markup("<pre>") + "python -m analysis.predict " + "folder/" * 20 + Markup("</pre>"))
    summary = Section(id="summary", title="Summary", blocks=(text("A study."), long))
    block = trials_block(trials, section, names=names)
    return render(folder / "index.html", title="Study", summary=summary, sections=[section], footer="-", trials=block)


def stills() -> Section:
    """A section whose still figures are empty, which saves the time to draw them."""
    empty = [Picture(name=name, svg=Markup("<svg/>"), alt=name, caption="-") for name in LIVE]
    return Section(id="search", title="Search", blocks=tuple(empty))


def open_page(tab: Page, path: Path, section: Section, block: Markup | None) -> None:
    """Opens a page that has no other section."""
    summary = Section(id="summary", title="Summary")
    render(path, title="Study", summary=summary, sections=[section], footer="-", trials=block)
    tab.problems.clear()
    tab.open(path)


def block_of(study: Trials, **bounds: int) -> dict:
    made = trials_block(study, Section(id="search", title="Search"), names=NAMES, bounds=Bounds(**bounds))
    return json.loads(str(made))


def shown(page: Page, selector: str) -> str:
    """The text of the first such element."""
    return page.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")


def every(page: Page, selector: str, what: str = "one.textContent") -> list:
    """What an expression gives for each such element."""
    return page.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => {what})")


def do(page: Page, selector: str, what: str) -> None:
    """Calls a method of the first such element."""
    page.evaluate(f"document.querySelector({json.dumps(selector)}).{what}")
    page.settle()


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    return make_study(64, seed=1, failures=2, running=1)


@pytest.fixture(scope="module")
def path(study: optuna.Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(study, tmp_path_factory.mktemp("report"), NAMES)


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with browser() as page:
        yield page


@pytest.fixture
def page(tab: Page, path: Path) -> Page:
    """The page as it opens, on a screen of usual size."""
    tab.problems.clear()
    tab.media()
    tab.size(1280)
    tab.open(path)
    return tab


def test_the_block_has_every_trial_with_its_numbers_as_they_are_stored(study: optuna.Study):
    trials = read_trials(study, make_run())
    block = block_of(trials)
    known = trials.trials[trials.trials["last"].notna()]
    assert [row[0] for row in block["trials"]] == list(known["number"])
    assert [row[2] for row in block["trials"]] == list(known["last"])
    for row in block["trials"]:
        given = {
            one["name"]: value for one, value in zip(block["parameters"], row[7:], strict=True) if value is not None
        }
        chosen = {one["name"]: one["choices"] for one in block["parameters"] if "choices" in one}
        assert {n: chosen[n][v] if n in chosen else v for n, v in given.items()} == config_of(known.loc[row[0]])
    assert block["best"] == trials.best["number"]
    assert block["measured"] == len(known)


def test_a_large_study_keeps_its_best_trials_and_an_even_selection_of_the_others():
    trials = read_trials(make_study(400, seed=3), make_run())
    block = block_of(trials, trials=90, points=500)
    kept = [row[0] for row in block["trials"]]
    assert len(kept) == 90
    assert kept == sorted(kept)
    done = trials.complete.sort_values("value", ascending=False)["number"].head(10)
    assert set(done) <= set(kept)
    assert max(b - a for a, b in pairwise(kept)) < 40
    assert block["thinCurves"]
    at_rungs = [row[6] for row in block["trials"]]
    assert all(
        set(curve[0] if curve and isinstance(curve[0], list) else range(1, len(curve) + 1)) <= {1, 3, 9, 27}
        for curve in at_rungs
    )
    small = block_of(trials, bytes=20_000)
    assert len(json.dumps(small["trials"])) < 24_000
    assert block["best"] in [row[0] for row in small["trials"]]


@pytest.mark.parametrize(
    "evil", ["</script><script>alert(1)</script>", "\x1b]0;x\x07 \u202e & <!--", "\u2028'\"\\ \x85 é 日本"]
)
def test_names_and_choices_cannot_leave_the_block(evil: str, tmp_path: Path):
    study = make_study(4)
    for value in (evil, "plain"):
        distributions = {evil: CategoricalDistribution([evil, "plain"]), "lr": FloatDistribution(0, 1)}
        study.add_trial(create_trial(value=0.5, params={evil: value, "lr": 0.5}, distributions=distributions))
    page = write(study, tmp_path, [], still=False).read_text()
    block = re.search(r'<script type="application/json" id="trials-data">(.*?)</script>', page, re.S)
    assert block
    read = json.loads(block[1])
    assert read["parameters"][-2 if read["parameters"][-1]["name"] == "lr" else -1]["choices"][0] == evil
    assert page.count("<script") == 7
    assert "alert(1)</script>" not in page


def test_values_that_are_not_finite_are_left_out_and_curves_with_gaps_keep_their_epochs():
    study = optuna.create_study(direction="minimize")
    for values, value in (({1: 0.5, 3: 0.25}, 0.25), ({1: math.inf, 2: 0.75}, 0.75), ({1: math.nan}, None)):
        state = TrialState.COMPLETE if value is not None else TrialState.FAIL
        study.add_trial(create_trial(value=value, state=state, intermediate_values=values))
    made = trials_block(read_trials(study), Section(id="search", title="Search"), names=[])
    assert [row[6] for row in json.loads(str(made))["trials"]] == [[[1, 3], [0.5, 0.25]], [[2], [0.75]]]


def test_a_study_without_values_has_no_block():
    assert trials_block(read_trials(make_study(0)), Section(id="search", title="Search"), names=[]) is None


READ = 'readStudy(JSON.parse(document.getElementById("trials-data").textContent))'
COMPARE = """(() => {
  const data = %s, wrong = [];
  const heads = [...document.querySelectorAll("#table-trials th")].map((th) => th.textContent);
  const rows = [...document.querySelectorAll("#table-trials tbody tr")];
  const known = rows.filter((row) => data.index.has(Number(row.cells[0].dataset.key)));
  for (const row of known) {
    const texts = Object.fromEntries(heads.map((head, at) => [head, row.cells[at].textContent]));
    const { title, facts, params } = describe(data, data.index.get(Number(row.cells[0].dataset.key)));
    const said = Object.fromEntries([...facts, ...params]);
    const pairs = [[title, `Trial ${texts.trial}`], [said.seconds, texts.seconds]];
    pairs.push([said[data.metric], texts["last value"]]);
    pairs.push([said.weights, texts.weights], ...data.parameters.map(({ name }) => [said[name] ?? "–", texts[name]]));
    wrong.push(...pairs.filter(([one, other]) => one !== other));
  }
  return [known.length, wrong];
})()"""
COUNT, CHIPS = ".count", ".chip"


@pytest.mark.browser
def test_every_figure_becomes_interactive_without_an_error_or_a_request(page: Page):
    assert page.problems == []
    assert sorted(every(page, "figure.interactive", "one.dataset.figure")) == sorted(LIVE)
    assert not any(every(page, ".interactive > svg", "one.getClientRects().length"))
    assert len(every(page, ".plot svg")) == 5 + len(NAMES)
    assert all(
        every(page, ".plot svg, .grip, .toolbar input", "one.getAttribute('aria-label') ?? one.labels[0].textContent")
    )


@pytest.mark.browser
def test_the_card_of_a_trial_says_what_the_table_says(page: Page):
    count, wrong = page.evaluate(COMPARE % READ)
    assert wrong == []
    assert count >= 60


@pytest.mark.browser
def test_numbers_are_written_as_python_writes_them(page: Page):
    values = [0.1, 2.0625, 0.00390625, 1e-5, 12345.678, 123456789.5, 0.99995, 9999.5, 3.0, -0.25, 0.03125]
    values += [1e-300, 1.5e300, 5e-324]
    assert page.evaluate(f"{json.dumps(values)}.map(four)") == [f"{value:.4g}" for value in values]


@pytest.mark.browser
def test_pointing_shows_a_trial_and_a_click_selects_it_in_all_figures_and_in_the_table(page: Page, study: optuna.Study):
    do(page, "[data-figure=history]", "scrollIntoView({ block: 'center' })")
    box = every(page, "[data-figure=history] .plot svg", "one.getBoundingClientRect().toJSON()")[0]
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.pointer("Moved", x, y)
    page.settle()
    assert shown(page, ".card b").startswith("Trial ")
    page.click(x, y)
    number = shown(page, ".strip b").removeprefix("Trial ")
    assert every(page, "tr.picked", "one.cells[0].textContent") == [number]
    assert every(page, "[data-figure=learning_curves] .over .selected")
    best = str(study.best_trial.number)
    at = every(page, "#table-trials tbody tr", "one.cells[0].textContent").index(best)
    do(page, f"#table-trials tbody tr:nth-child({at + 1})", "click()")
    assert shown(page, ".strip b") == f"Trial {best}"
    assert page.problems == []


@pytest.mark.browser
def test_the_copied_configuration_is_the_stored_one_even_where_the_clipboard_is_refused(
    page: Page, study: optuna.Study
):
    made = page.evaluate(
        f"(() => {{ const d = {READ}; return d.trials.map((t) => [d.number[t], configuration(d, t)]); }})()"
    )
    stored = {trial.number: trial.params for trial in study.trials}
    for number, configuration in made:
        read = json.loads(configuration)
        assert repr(sorted(read.items())) == repr(sorted(stored[number].items())), "values and their types"
    do(page, "tr.linked", "click()")
    page.evaluate(
        "Object.defineProperty(navigator, 'clipboard', { value: undefined }); document.execCommand = () => false"
    )
    do(page, ".strip .actions button", "click()")
    number = int(shown(page, ".strip b").removeprefix("Trial "))
    assert json.loads(every(page, ".strip textarea", "one.value")[0]) == stored[number]
    assert shown(page, ".strip .actions span") == "Press Ctrl+C to copy the selected text."


@pytest.mark.browser
def test_the_keyboard_alone_reaches_trials_and_the_card_of_the_selected_one(page: Page):
    do(page, "[data-figure=history] .plot svg", "focus()")
    page.press("ArrowRight")
    before = shown(page, ".card b")
    page.press("ArrowLeft")
    trial = shown(page, ".card b")
    assert trial != before
    assert trial in shown(page, ".unseen")
    page.press("Enter")
    assert shown(page, ".strip b") == trial
    page.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Copy this configuration"
    page.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "application"
    assert every(page, ".strip", "one.hidden") == [True]


@pytest.mark.browser
def test_the_card_marks_where_a_trial_differs_from_the_selected_one(page: Page, study: optuna.Study):
    do(page, "[data-figure=history] .plot svg", "focus()")
    page.press("ArrowRight")
    page.press("Enter")
    page.press("ArrowLeft")
    one, other = (int(shown(page, f"{place} b").removeprefix("Trial ")) for place in (".strip", ".card"))
    ours, theirs = study.trials[one].params, study.trials[other].params
    assert set(every(page, ".card .differs dt")) == {name for name in theirs if theirs[name] != ours.get(name)}
    assert shown(page, ".card .note") == f"Bold: other than in trial {one}."


@pytest.mark.browser
def test_the_keyboard_alone_sets_and_removes_ranges_and_states_and_the_focus_is_seen(page: Page):
    do(page, ".grip", "focus()")
    page.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Range of lr"
    for _ in range(8):
        page.press("ArrowDown")
    assert re.fullmatch(r"lr: 0.0001 to 0.0\d+ ×", shown(page, CHIPS))
    assert re.fullmatch(r"\d+ of 66 trials", shown(page, COUNT))
    page.press("Delete")
    page.settle()
    assert every(page, CHIPS) == []
    do(page, ".toolbar input", "focus()")
    page.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press(" ")
    assert re.fullmatch(r"\d+ of 66 trials", shown(page, COUNT))


@pytest.mark.browser
def test_states_and_several_ranges_are_filtered_and_all_are_shown_again(page: Page):
    do(page, "[data-figure=parallel]", "scrollIntoView({ block: 'center' })")
    boxes = every(page, ".grip", "one.getBoundingClientRect().toJSON()")
    for box in (boxes[1], boxes[4]):
        page.drag(box["x"] + box["width"] / 2, box["y"] + 0.1 * box["height"], box["y"] + 0.6 * box["height"])
    assert every(page, CHIPS, "one.textContent.split(':')[0]") == ["lr", "width_0"]
    some = int(shown(page, COUNT).split()[0])
    do(page, ".toolbar input[value=stopped]", "click()")
    assert int(shown(page, COUNT).split()[0]) < some
    do(page, ".toolbar > button", "click()")
    assert shown(page, COUNT) == "66 trials"
    assert every(page, CHIPS) == []
    assert page.problems == []


def odd(name: str) -> optuna.Study:
    """A study whose values, parameters or curves are unusual."""
    study = optuna.create_study(direction="minimize")
    kinds = {
        "one trial": ({"x": FloatDistribution(0, 1)}, [{"x": 0.5}], [0.1]),
        "equal values": ({"x": FloatDistribution(0, 1)}, [{"x": 0.5}] * 6, [0.25] * 6),
        "one choice": (
            {"c": CategoricalDistribution(["a"]), "x": FloatDistribution(2, 2)},
            [{"c": "a", "x": 2.0}] * 3,
            [1, 2, 3],
        ),
        "mixed choices": (
            {"c": CategoricalDistribution([None, True, 1.5, "é <b>"])},
            [{"c": c} for c in (None, True, 1.5, "é <b>")],
            [1, 2, 3, 4],
        ),
        "many choices": (
            {"c": CategoricalDistribution([f"choice {i}" * 3 for i in range(60)])},
            [{"c": f"choice {i}" * 3} for i in range(60)],
            range(60),
        ),
        "no parameters": ({}, [{}] * 4, [3, 2, 1, 4]),
        "huge and tiny": (
            {"n": IntDistribution(1, 10**12, log=True), "x": FloatDistribution(1e-300, 1e300, log=True)},
            [{"n": 10**k, "x": 10.0 ** (50 * k - 290)} for k in range(12)],
            [10.0**k for k in range(-6, 6)],
        ),
        "negative": (
            {"x": FloatDistribution(-1e-9, 1e-9), "y": FloatDistribution(-5, 5)},
            [{"x": k * 1e-10, "y": -k / 2} for k in range(9)],
            [-(10.0**k) for k in range(9)],
        ),
    }
    distributions, params, values = kinds[name]
    for given, value in zip(params, values, strict=True):
        curve = {1: float(value) * 2, 3: float(value)}
        study.add_trial(
            create_trial(value=float(value), params=given, distributions=distributions, intermediate_values=curve)
        )
    return study


@pytest.mark.browser
@pytest.mark.parametrize(
    "name",
    [
        "one trial",
        "equal values",
        "one choice",
        "mixed choices",
        "many choices",
        "no parameters",
        "huge and tiny",
        "negative",
    ],
)
def test_unusual_studies_are_drawn_without_an_error(tab: Page, tmp_path: Path, name: str):
    trials = read_trials(odd(name))
    names = [parameter.name for parameter in trials.parameters]
    section = stills()
    tab.size(1000, 4000)
    open_page(tab, tmp_path / "p.html", section, trials_block(trials, section, names=names))
    tab.evaluate("document.querySelectorAll('.plot svg').forEach((one) => one.focus())")
    for key in ("ArrowRight", "ArrowUp", "Enter"):
        tab.press(key)
    drawn = every(
        tab, ".plot svg", "[...one.querySelectorAll('path, circle, rect, text')].map((o) => o.outerHTML).join()"
    )
    assert tab.problems == []
    assert len(drawn) >= 2 + len(names)
    assert not any(word in text for text in drawn for word in ("NaN", "Infinity", "undefined"))
    assert shown(tab, ".strip b").startswith("Trial ")


@pytest.mark.browser
def test_a_change_of_the_colour_scheme_reaches_an_open_page(page: Page):
    def look() -> list[str]:
        places = (".plot text", ".plot .halo", "figure:not(.interactive) svg text", "body", ".toolbar")
        style = "(({ fill, stroke, color, backgroundColor }) => fill + stroke + color + backgroundColor)"
        return [every(page, place, f"{style}(getComputedStyle(one))")[0] for place in places]

    light = look()
    page.media(prefers_color_scheme="dark")
    assert all(before != after for before, after in zip(light, look(), strict=True))
    page.media(prefers_color_scheme="light")
    assert look() == light


@pytest.mark.browser
def test_paper_has_the_still_figures(page: Page):
    width = "one.getBoundingClientRect().width"
    page.media("print")
    assert min(every(page, "figure > svg", width)) > 50
    assert not any(every(page, ".plots, .toolbar, .hint, .card, .strip", width))


@pytest.mark.browser
def test_a_script_that_is_not_ours_does_not_run_and_without_scripts_the_still_figures_show(
    page: Page, path: Path, tmp_path: Path
):
    text = path.read_text().replace('"use strict";', '"use strict"; document.title = "changed";')
    (tmp_path / "index.html").write_text(text.replace("</body>", '<img src="x:" onerror="document.title = 1"></body>'))
    page.open(tmp_path / "index.html")
    assert any("Content Security Policy" in problem for problem in page.problems)
    assert page.evaluate("document.title") == "Study"
    assert every(page, ".plots") == []
    assert min(every(page, "figure > svg", "one.getBoundingClientRect().width")) > 50


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 800, 1400])
def test_no_width_makes_the_page_scroll_sideways(page: Page, width: int):
    page.size(width, phone=width == 400)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth") == width
    assert max(every(page, ".plots:not(figure[data-figure=parallel] *)", "one.getBoundingClientRect().right")) <= width


@pytest.mark.browser
def test_a_tap_selects_and_a_finger_drags_a_range(page: Page):
    page.size(400, 800, phone=True)
    page.call("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        do(page, "[data-figure=history]", "scrollIntoView({ block: 'center' })")
        (box,) = every(page, "[data-figure=history] .plot svg", "one.getBoundingClientRect().toJSON()")
        marks = every(page, "[data-figure=history] .body path", "one.getAttribute('d')")[-1]
        x, y = map(float, re.match(r"M([\d.]+) ([\d.]+)", marks).groups())
        page.tap(box["x"] + x, box["y"] + y)
        page.until("!document.querySelector('.strip').hidden")  # it could have become a double tap
        assert shown(page, ".strip b").startswith("Trial ")
        do(page, ".strip .actions button:nth-of-type(2)", "click()")
        do(page, "[data-figure=parallel]", "scrollIntoView({ block: 'center' })")
        box = every(page, ".grip", "one.getBoundingClientRect().toJSON()")[1]
        page.swipe(box["x"] + box["width"] / 2, box["y"] + 0.2 * box["height"], box["y"] + 0.6 * box["height"])
        assert shown(page, CHIPS).startswith("lr: ")
    finally:
        page.call("Emulation.setTouchEmulationEnabled", enabled=False)
    assert page.problems == []


@pytest.mark.browser
def test_nothing_moves_by_itself(page: Page):
    style = "(({ animationName, transitionDuration }) => [animationName, transitionDuration])(getComputedStyle(one))"
    assert {tuple(found) for found in every(page, "*", style)} == {("none", "0s")}


@pytest.mark.browser
def test_a_study_of_thousands_of_trials_opens_reacts_and_says_what_is_left_out(tab: Page, tmp_path: Path):
    trials = read_trials(make_study(3_400, epochs=3, seed=5), make_run(epochs=3, rungs=(1, 3)))
    section = stills()
    block = trials_block(trials, section, names=NAMES)
    assert len(str(block)) < 1_000_000
    open_page(tab, tmp_path / "p.html", section, block)
    tab.size(1280)
    said = "They show 3,000 of 3,400 trials that have a value: the best complete trials and an even selection"
    assert said in shown(tab, ".hint")
    assert shown(tab, COUNT) == "3,000 trials"
    spent = "(() => { const start = performance.now(); %s; return performance.now() - start; })()"
    assert tab.evaluate(spent % "document.querySelector('.toolbar input').click()") < 3_000, "milliseconds"
    assert tab.problems == []
