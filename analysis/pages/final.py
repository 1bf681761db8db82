"""The final part of a run's page, as an HTML fragment made from final/final.json and its figures.

section = final_section("runs/NAME")      # None while there is no final evaluation
"""

import base64
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from analysis import wording
from analysis.pages.page import Fragment, Section, text
from analysis.pages.policy import sealed
from analysis.pages.templates import environment
from analysis.plots import drawing, style
from analysis.plots.svg import checked, inline
from analysis.prose.card import restate_card
from analysis.prose.discussion import discuss
from analysis.studies.criterion import BASELINE
from analysis.studies.openings import OpeningsError, read_openings, times, times_opened
from analysis.studies.results import FinalResults, ResultsError
from search.process.arguments import command
from search.session.tradeoffs import shown_number
from search.storage.run import read_run
from search.storage.study import open_study

_BEGIN, _END = "<!-- final evaluation -->", "<!-- end of the final evaluation -->"
"""Around the fragment in a page, so that `refresh_page` finds it."""
_TOPICS = {
    "verdict": "How good is it?",
    "weakness": "Where it fails",
    "limit": "What limits it",
    "practice": "What it means in practice",
    "next": "What to try next",
}
_COMPARED = ("rmse", "mae", "r2", "accuracy", "macro_f1", "log_loss")
"""Metrics of other methods, beside that of the search."""
_REVIEWED = "Range: "
"""How sentences on ranges begin. The page leaves them to its review of the best trials, which tests them."""
_SEE_REVIEW = Markup('Ranges to extend or to leave out: see the <a href="#review">review of the best trials</a>.')
_CAPTIONS = {
    "contenders": "All configurations on the test rows: each seed, and the mean over seeds with its 95 % interval.",
    "front": "Configurations of the front of the search on the test rows. All intervals hold together with 95 % "
    "probability. Diamonds: "
    "values of the validation rows, by which the front was chosen.",
    "classes": "Precision, recall and F1 of the winner for each class, the lowest first.",
    "confusion": "Confusion matrix of the winner over all seeds, in percent of the rows of each label.",
    "calibration": "Reliability of the exported network: accuracy against confidence, in 15 bins of equal mass.",
    "mistakes": "The wrong predictions with the highest confidence (exported network).",
    "references": "Published results and this run.",
    "baselines": "The winner and methods without a network, on the same test rows.",
    "residuals": "Target minus prediction of the exported network, against its prediction.",
    "bands": "Error of the winner in each fifth of the training targets. A negative mean error means that predictions "
    "are too low.",
    "residual_map": "Where the exported network's predictions are too low (orange) or too high (purple).",
    "importance": "Increase of the winner's error when a feature is permuted among the rows (orange: several features "
    "together).",
    "dependence": "Mean prediction over the training rows when one feature is set to the same value in all of them; "
    "bands: 95 % over seeds. Marks on the axis: deciles of the training rows.",
}


def final_section(run_dir: str | Path) -> Markup | None:
    """The fragment, with headings from h3 downwards and figures inside; None without a final evaluation.

    An evaluation that opened the test set and ended without results is a single paragraph.
    """
    found = _fragment(Path(run_dir), Path(run_dir) / "final")
    return None if found is None else Markup(_BEGIN) + found + Markup(_END)


def final_sections(run_dir: Path, run: Any) -> list[Section]:
    """The section on the final evaluation, or on how to run it."""
    try:
        restate_card(run_dir / "final")
        found = final_section(run_dir)
    except OSError:
        raise
    except Exception as error:  # a record that lacks something costs this part of the page, not the page
        place = run_dir / "final"
        damage = f"{place / 'final.json'} is damaged ({drawing.explain(error)}); restore it from a copy"
        reason = str(error) if isinstance(error, OpeningsError) else damage
        print(f"note: the final evaluation cannot be shown: {reason}", file=sys.stderr)
        line = f"The final evaluation cannot be shown: {reason.replace(f'{place}{os.sep}', '')}."
        return [Section(id="final", title="Final evaluation", blocks=(text(line, kind="warning"),))]
    if found is not None:
        return [Section(id="final", title="Final evaluation", blocks=(Fragment(html=found),))]
    if run is None or run.has_test:
        return []
    missing = text(
        "There is no final evaluation, because the space has no test function. Write test(model, run) that returns "
        "rw.Predictions(...) or numbers by name, and add it as Space(test=test)."
    )
    return [Section(id="final", title="Final evaluation", blocks=(missing,))]


def _fragment(run_dir: Path, final_dir: Path) -> Markup | None:
    try:
        results = FinalResults.read(final_dir)
    except ResultsError as error:
        print(f"note: the final evaluation cannot be shown: {final_dir}{os.sep}{error}", file=sys.stderr)
        return Markup("<p>") + str(error) + Markup("</p>")
    if results is None:
        count = len(read_openings(final_dir))
        said = f"The test set was opened {times(count)} by an evaluation that ended without results."
        return Markup("<p>") + said + Markup("</p>") if count else None
    results = _discussed(results, run_dir)
    templates = environment(html=True, strict=False)
    templates.globals.update(words=wording, baseline_name=BASELINE)
    templates.globals.update(openings=read_openings(final_dir), times_opened=times_opened(final_dir))
    captions = {
        **_CAPTIONS,
        "bands": _CAPTIONS["bands"].replace("training", "test") if results.own else _CAPTIONS["bands"],
    }
    figures = {name: _figure(final_dir, name, caption) for name, caption in captions.items()}
    template = templates.get_template("final.html")
    return Markup(template.render(results=results, run_dir=str(run_dir), figures=figures, **_context(results)))


def _discussed(results: FinalResults, run_dir: Path) -> FinalResults:
    """The results with their discussion in the words of this version; with the stored one if the study is not there."""
    with suppress(LookupError, TypeError, ValueError, OSError):
        return replace(results, discussion=discuss(results, open_study(run_dir), read_run(run_dir)))
    return results


def refresh_page(page: str, run_dir: Path) -> str:
    """A run's page with a current final part: the test set may have been opened since the page was made.

    Raises:
        ValueError: the page was made before this part, or by an earlier release, and counts other openings.
    """
    found = final_section(run_dir)
    begin, end = page.find(_BEGIN), page.find(_END)
    if 0 <= begin < end and found is not None:
        return sealed(page[:begin] + str(found) + page[end + len(_END) :])
    if (opened := read_openings(run_dir / "final")) and f"opened {times(len(opened))}" not in page:
        raise ValueError(
            f"the page of {run_dir} is outdated: it does not show that the test set was opened "
            f"{times_opened(run_dir / 'final')}; create it again: {command('analysis.report')} {run_dir}"
        )
    return page


def _context(results: FinalResults) -> dict[str, Any]:
    winner = results.winning
    sentences = [s for s in results.discussion if not s["text"].startswith(_REVIEWED)]
    topics = {heading: [s["text"] for s in sentences if s["topic"] == topic] for topic, heading in _TOPICS.items()}
    if len(sentences) < len(results.discussion):
        topics[_TOPICS["next"]].append(_SEE_REVIEW)
    return {
        "winner": winner,
        "metric": results.metric,
        "unit": results.target_unit,
        "compared": [m for m in dict.fromkeys((results.metric, *_COMPARED)) if m in winner.scores],
        "smaller": results.is_less_better,
        "images": len(results.image_shape) == 3,
        "hardware": results.hardware,
        "front": [(entrant, shown_number(entrant.joint["second"])) for entrant in results.front],
        "topics": {k: v for k, v in topics.items() if v},
    }


def _figure(final_dir: Path, name: str, caption: str) -> Markup | None:
    found = drawing.read(name, final_dir / "figures")
    if found is None:
        return None
    if found.reason:
        return Markup('<p class="warning">{}{}. {}</p>').format(drawing.UNDRAWN, found.reason, caption)
    svg = checked(found.svg) if style.INK.lower() in found.svg else None
    if svg is None:  # of an earlier release, black on white; or not of our making
        data = base64.b64encode(found.svg.encode()).decode()
        image = Markup(
            '<img style="max-width: 100%; background: #fff" src="data:image/svg+xml;base64,{}" alt="{}">'
        ).format(data, caption)
    else:
        image = inline(svg, f"final-{name}", caption)
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(image, caption)
