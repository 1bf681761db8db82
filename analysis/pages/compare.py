"""The comparison of several runs as a page: whose best is better, which effects hold in all, what each run cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from analysis import wording
from analysis.impact.across import Agreement, Contrast, contrasts
from analysis.impact.answers import Answer, read_answers
from analysis.impact.effects import early_effects, full_effects
from analysis.pages.page import Facts, Fold, Folder, Section, render, text
from analysis.plots.compare import plot_best, plot_contrasts, plot_course, shown_contrasts
from analysis.prose import compare as prose
from analysis.scores.versus import Match, matches
from analysis.studies import alike
from analysis.studies.present import in_present_ranges
from analysis.studies.sides import Side
from analysis.wording import is_share


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that is known of several runs beside each other."""

    sides: Sequence[Side]
    lost: Sequence[str]
    """A line for each run that could not be read."""
    matches: Sequence[Match]
    """Every run but the first against the first."""
    alike: Sequence[Side]
    """Runs with the metric of the first; effects are compared among them."""
    full: Sequence[Contrast]
    """Effects at the full budget."""
    early: Sequence[Contrast]
    """Effects on early learning speed."""
    answers: Sequence[Sequence[Answer]]
    """Of the questions that each run was asked."""

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before any number."""
        return [*self.lost, *prose.warnings(self.sides)]

    @property
    def results(self) -> pd.DataFrame:
        """One row per run: its best on validation and test rows, and the difference from the first run."""
        return prose.result_table(self.sides, self.matches)

    @property
    def effects(self) -> pd.DataFrame:
        """One row per hyperparameter: whether the runs agree at the full budget, and each effect with interval."""
        return effect_table(self.full, self.alike)

    def write(self, folder: str | Path) -> Path:
        """Write the page with its figures and tables into a folder, and return the page's path."""
        place = Folder(Path(folder))
        return render(
            Path(folder) / "index.html",
            title=f"Comparison: {', '.join(side.name for side in self.sides)}",
            summary=summary(self),
            sections=sections(self, place),
            footer="Written by Rungwise. The figures and tables are also files next to this page.",
        )


def make_comparison(sides: Sequence[Side], lost: Sequence[str] = (), *, seed: int = 0) -> Comparison:
    """Compute everything.

    Args:
        sides: at least two.
        lost: a line for each run that could not be read.
        seed: of the bootstrap of effects.
    """
    same = [side for side in sides if alike.same_metric(sides[0], side)]
    relations = [alike.data_relation(same[0], side) for side in same[1:]]
    same_unit = is_share(sides[0].trials.metric) or alike.Data.OTHER not in relations
    known = {"sign": sides[0].trials.sign, "same_unit": same_unit}
    present = [in_present_ranges(side.trials) for side in same]
    parameters = [trials.parameters for trials in present]
    with threadpool_limits(1):
        full = [full_effects(trials, seed=seed) for trials in present]
        early = [early_effects(trials, seed=seed) for trials in present]
    several = len(same) > 1
    return Comparison(
        sides=sides,
        lost=lost,
        matches=matches(sides),
        alike=same,
        full=contrasts(full, parameters, **known) if several else [],
        early=contrasts(early, parameters, **known) if several else [],
        answers=[read_answers(side.folder) if side.run is not None else () for side in sides],
    )


def summary(found: Comparison) -> Section:
    """What a busy reader takes away in a minute."""
    blocks: list[Any] = [text(line, kind="warning") for line in found.warnings]
    blocks.append(Facts(facts=(*_best_facts(found), *_effect_fact(found), _cost_fact(found))))
    blocks.append(text(*map(prose.best_line, found.matches), kind="list"))
    if said := prose.course_line(found.sides):
        blocks.append(text(said))
    blocks.append(text(*prose.notes(found.sides), kind="note"))
    return Section(id="summary", title="Summary", blocks=tuple(blocks))


def _best_facts(found: Comparison) -> list[tuple[str, str, str]]:
    facts = []
    for match in found.matches[:2]:
        first, other = match.first, match.other
        if match.gap is None:
            facts.append(("Best against best", "not compared", f"{first.name} and {other.name}: {match.why}"))
            continue
        leads, trails = (first, other) if match.gap.value * match.sign >= 0 else (other, first)
        where = "on sealed test rows" if match.tested else "on validation rows, without an interval"
        facts.append(("Best against best", prose.ahead(match), f"{leads.name} is ahead of {trails.name} {where}"))
    return facts


def _effect_fact(found: Comparison) -> list[tuple[str, str, str]]:
    if not found.full:
        return []
    counts = {kind: sum(one.agreement is kind for one in found.full) for kind in Agreement}
    large = f"{counts[Agreement.HOLDS]} hold, {counts[Agreement.CONTRADICTS]} contradict"
    some, alone = counts[Agreement.PARTLY], counts[Agreement.ALONE]
    small = f"{some} clear in some runs only, {alone} known in one run only, of {len(found.full)} hyperparameters"
    return [("Effects at the full budget", large, small)]


def _cost_fact(found: Comparison) -> tuple[str, str, str]:
    table = prose.cost_table(found.sides)
    each = [f"{row['run']}: {row['epochs']:,} epochs, {row['computing']}" for row in table.to_dict("records")]
    return ("Training time", " / ".join(table["training"]), "; ".join(each))


def sections(found: Comparison, folder: Folder) -> list[Section]:
    """The sections after the summary."""
    parts = [_best(found, folder), _questions(found)]
    if len(found.alike) > 1:
        parts.append(_effects(found, folder))
        parts.append(_early(found, folder))
    parts += [_course(found, folder), _spaces(found, folder)]
    return [part for part in parts if part is not None]


def _best(found: Comparison, folder: Folder) -> Section:
    blocks: list[Any] = [folder.table("results", found.results, caption="The best of each run.")]
    comparable = prose.comparable(found.sides)
    if len(comparable) > 1:
        picture = folder.picture(
            "best",
            partial(plot_best, comparable),
            alt="The best of each run: the test mean with its interval, its seeds, and the validation value",
            caption=(
                "The best of each run. Dots with bars: mean over fresh seeds on the sealed test set, with its 95 % "
                "interval. Crosses: the best validation value, which is the best of many and so too good."
            ),
            wide=True,
        )
        blocks.append(picture)
    table = alike.best_configurations(found.sides)
    caption = "Configuration of the best complete trial of each run."
    blocks.append(folder.table("configurations", table, caption=caption, parameters=[s.name for s in found.sides]))
    return Section(id="best", title="Best against best", blocks=tuple(blocks))


def _questions(found: Comparison) -> Section | None:
    lines = prose.answer_lines(found.answers, found.sides)
    return Section(id="questions", title="Questions", blocks=(text(*lines, kind="list"),)) if lines else None


_HOW = (
    "Each contrast is chosen in the run that shows it most clearly, among the values that all runs tried; that run's "
    "interval allows for the choice. The other runs are asked about this contrast only (95 % intervals). The "
    "effect of a run that has too few trials with some of the values is not known."
)


def _effects(found: Comparison, folder: Folder) -> Section:
    intro = "Effects among the trials that were trained to the end, with the other hyperparameters held constant."
    caption = "Effects at the full budget in each run, with 95 % intervals; right of zero is a larger value."
    blocks = [text(intro), *_contrasts(found.full, found, folder, name="effects", caption=caption)]
    return Section(id="effects", title="Effects at the full budget", blocks=tuple(blocks))


def _early(found: Comparison, folder: Folder) -> Section | None:
    if not shown_contrasts(found.early):
        return None
    intro = (
        "Effects at the first rung of each run, among all its trials. They say what learns faster at the start, which "
        "need not be what is best at the end."
    )
    caption = "Effects at the first rung in each run, with 95 % intervals."
    blocks = [text(intro), *_contrasts(found.early, found, folder, name="early_effects", caption=caption)]
    return Section(id="early", title="Effects on early learning speed", blocks=tuple(blocks))


def _contrasts(shown: Sequence[Contrast], found: Comparison, folder: Folder, *, name: str, caption: str) -> list[Any]:
    blocks: list[Any] = []
    for agreement, heading in prose.HEADINGS.items():
        lines = [prose.effect_line(one, found.alike) for one in shown if one.agreement is agreement]
        if lines:
            blocks += [text(heading), text(*lines, kind="list")]
    blocks += [text(line) for line in prose.rest_lines(shown)]
    if shown_contrasts(shown):
        alt = "Effects of each hyperparameter in each run, with intervals"
        draw = partial(plot_contrasts, shown, found.alike)
        blocks.append(folder.picture(name, draw, alt=alt, caption=caption, wide=True))
        table = folder.table(name, effect_table(shown, found.alike), caption=caption)
        blocks.append(Fold(title="Table of effects", inside=(table,)))
    return [*blocks, text(_HOW, kind="note")]


def effect_table(shown: Sequence[Contrast], sides: Sequence[Side]) -> pd.DataFrame:
    """One row per hyperparameter: what the runs say together, and the effect in each with its interval."""
    rows = []
    for one in shown:
        row: dict[str, Any] = {"hyperparameter": one.parameter, "together": one.agreement.value}
        row["contrast"] = f"{one.better} against {one.worse}" if one.better else ""
        for side, interval in zip(sides, one.found, strict=True):
            scale = side.trials.points
            for key in ("value", "low", "high"):
                head = f"{side.name}{'' if key == 'value' else f' {key}'}"
                row[head] = None if interval is None else scale * getattr(interval, key)
        rows.append(row)
    return pd.DataFrame(rows)


def _course(found: Comparison, folder: Folder) -> Section:
    comparable, blocks = prose.comparable(found.sides), []
    if said := prose.course_line(found.sides):
        blocks.append(text(said))
    if len(comparable) > 1:
        metric = wording.named(found.sides[0].trials.metric)
        for x, words in (("epochs", "epochs"), ("seconds", "training time")):
            picture = folder.picture(
                f"course_{x}",
                partial(plot_course, comparable, x),
                alt=f"Best complete {metric} so far of each run against {words}",
                caption=f"Best complete value so far against the {words} of all trials; the dot is the end of the run.",
            )
            blocks.append(picture)
    caption = "Cost of each search. Training times are comparable on the same machine only."
    blocks.append(folder.table("cost", prose.cost_table(found.sides), caption=caption))
    return Section(id="course", title="Course and cost", blocks=tuple(blocks))


def _spaces(found: Comparison, folder: Folder) -> Section:
    names = [side.name for side in found.sides]
    space = folder.table(
        "spaces", alike.space_table(found.sides), caption="Ranges of the hyperparameters.", parameters=names
    )
    settings = folder.table(
        "settings", alike.settings(found.sides), caption="Settings and data of each run.", parameters=names
    )
    return Section(id="spaces", title="Spaces and settings", blocks=(space, settings))
