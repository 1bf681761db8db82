"""Writes what a final evaluation leaves beside final.json: figures as PNG and SVG, tables as CSV."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import final as final_plots
from analysis.plots import table
from analysis.plots.drawing import draw
from analysis.progress import Advance, no_progress
from analysis.studies.export import MOST_PROBABILITIES, write_csv
from analysis.studies.results import FinalResults

Named = tuple[str, Callable[[], Axes | Figure]]
"""Name of a figure, and what draws it."""


def write_figures(
    results: FinalResults,
    folder: Path,
    *,
    x: np.ndarray,
    y: np.ndarray,
    exported: np.ndarray,
    advance: Advance = no_progress,
) -> None:
    """Draw every figure that these results have.

    Args:
        folder: new and empty, or not there yet.
        x: the test rows: images uint8 (N, C, H, W), or a table (N, F).
        y: labels or targets (N,).
        exported: answers of the exported network: probabilities (N, K) or predictions (N,).
        advance: called after each figure.
    """
    for name, make in (*_figures(results, x), *_table_figures(results), *_row_figures(results, x, y, exported)):
        draw(name, make, folder)
        advance()


def num_figures(results: FinalResults) -> int:
    """How many figures `write_figures` draws."""
    none = np.zeros(0)
    return len([*_figures(results, none), *_table_figures(results), *_row_figures(results, none, none, none)])


def redraw_figures(results: FinalResults, folder: Path) -> None:
    """Draw those figures of a table once more that need no test rows, from final.json alone."""
    for name, make in (*_figures(results, np.zeros(0)), *_table_figures(results)):
        draw(name, make, folder)


def _figures(results: FinalResults, x: np.ndarray) -> Iterator[Named]:
    yield "contenders", partial(final_plots.plot_entrants, results)
    if results.front:
        yield "front", partial(final_plots.plot_front, results)
    if results.confused is not None:
        yield "classes", partial(final_plots.plot_classes, results)
        yield "confusion", partial(final_plots.plot_confusion, results)
        if results.calibration:
            yield "calibration", partial(final_plots.plot_calibration, results)
    if results.references:
        yield "references", partial(final_plots.plot_references, results)
    if results.mistakes and len(results.image_shape) == 3:
        yield "mistakes", partial(final_plots.plot_mistakes, results, x)


def _table_figures(results: FinalResults) -> Iterator[Named]:
    if results.baselines:
        yield "baselines", partial(table.plot_baselines, results)
    if len(results.bands) > 1:
        yield "bands", partial(table.plot_bands, results)
    if results.importance:
        yield "importance", partial(table.plot_feature_importance, results)
        yield "dependence", partial(table.plot_dependence, results)


def _row_figures(results: FinalResults, x: np.ndarray, y: np.ndarray, exported: np.ndarray) -> Iterator[Named]:
    if not results.residuals:
        return
    yield "residuals", partial(table.plot_residuals, results, y, exported)
    if results.places:
        yield "residual_map", partial(_residual_map, results, x, y, exported)


def _residual_map(results: FinalResults, x: np.ndarray, y: np.ndarray, exported: np.ndarray) -> Axes:
    names = [column["name"] for column in results.columns]
    return table.plot_residual_map(results, x[:, [names.index(name) for name in results.places]], y, exported)


def write_tables(
    results: FinalResults,
    folder: Path,
    *,
    y: np.ndarray,
    exported: np.ndarray,
    origin: Sequence[str] | Sequence[int] = (),
    groups: np.ndarray | None = None,
    scored: bool = True,
) -> None:
    """Contenders, classes, confusion matrix and the exported network's predictions, one CSV each, in a new folder.

    Args:
        origin: where the test rows come from, as in `Split`.
        groups: number of the group of each test row (N,), a column of the predictions; None if rows are independent.
        scored: whether `exported` has probabilities, and not just the predicted classes.
    """
    folder.mkdir(parents=True)
    rows = [
        {"contender": e.name, "metric": metric, **found, "seeds": len(e.seeds)}
        for e in results.entrants
        for metric, found in e.scores.items()
    ]
    write_csv(pd.DataFrame(rows), folder / "contenders.csv")
    front = [{"contender": e.name, **e.joint} for e in results.front]
    if front:
        write_csv(pd.DataFrame(front).rename(columns={"second": results.second["name"]}), folder / "front.csv")
    _write_table_parts(results, folder)
    winner, grouped = results.winning, {} if groups is None else {"group": groups}
    if not winner.classes:
        if y.ndim == exported.ndim == 1 and len(y):
            answers = {**_places(origin), "target": y, "predicted": exported, **grouped}
            write_csv(pd.DataFrame(answers), folder / "predictions.csv")
        return
    names = list(winner.classes)
    _write_classes(results, folder)
    answers = {**_places(origin), **_class_answers(names, y, exported, scored=scored), **grouped}
    write_csv(pd.DataFrame(answers), folder / "predictions.csv")


def _write_classes(results: FinalResults, folder: Path) -> None:
    """Precision, recall and F1 of each class, and the confusion matrix."""
    winner = results.winning
    by_class = [
        {"class": name, "support": results.support[name]}
        | {f"{metric}_{key}": value for metric, found in scores.items() for key, value in found.items()}
        for name, scores in winner.classes.items()
    ]
    write_csv(pd.DataFrame(by_class), folder / "classes.csv")
    counts = pd.DataFrame(winner.confusion, columns=pd.Index(list(winner.classes)))
    counts.insert(0, "label", pd.Series(list(winner.classes)))
    write_csv(counts, folder / "confusion.csv")


def _class_answers(names: Sequence[str], y: np.ndarray, exported: np.ndarray, *, scored: bool) -> dict[str, np.ndarray]:
    """Label, predicted class and probabilities of each test row; those of all classes unless they are too many."""
    labels = np.array(names, dtype=object)
    answers = {"label": labels[y], "predicted": labels[exported.argmax(1)]}
    if not scored:
        return answers
    answers["probability"] = exported.max(1)
    if exported.size <= MOST_PROBABILITIES:
        shown = exported.astype(np.float64).round(6)
        answers |= {f"probability of {name}": shown[:, index] for index, name in enumerate(names)}
    return answers


def _places(origin: Sequence[str] | Sequence[int]) -> dict[str, Sequence[str] | Sequence[int]]:
    """The column that says where rows come from; none if that is not known."""
    return {"file" if isinstance(origin[0], str) else "row": origin} if origin else {}


def _write_table_parts(results: FinalResults, folder: Path) -> None:
    """Baselines, bands, importance and dependence, where there are any."""
    rows = {
        "baselines": [
            {"baseline": b.name, "metric": metric, **found, "seeds": len(b.seeds)}
            for b in results.baselines
            for metric, found in b.scores.items()
        ],
        "bands": [
            {"low": band["low"], "high": band["high"], "rows": band["rows"]}
            | {f"{m}_{key}": value for m in ("rmse", "mae", "bias") for key, value in band[m].items()}
            for band in results.bands
        ],
        "importance": [{**f, "features": " + ".join(f["features"])} for f in results.importance],
        "dependence": [
            {"feature": f["feature"], "answer": name, "x": x, "mean": mean, "low": low, "high": high}
            for f in results.dependence
            for name, curve in f["curves"].items()
            for x, mean, low, high in zip(f["x"], curve["mean"], curve["low"], curve["high"], strict=True)
        ],
    }
    for name, found in rows.items():
        if found:
            write_csv(pd.DataFrame(found), folder / f"{name}.csv")
