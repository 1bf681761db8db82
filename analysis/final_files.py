"""Writes what a final evaluation leaves beside final.json: figures as PNG and SVG, tables as CSV."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import final_plots
from analysis.trials import write_csv
from trainables import checkpoint


def write_figures(
    results: dict[str, Any], folder: Path, *, images: np.ndarray, y: np.ndarray, exported: np.ndarray
) -> None:
    """Draw every figure that these results have.

    Args:
        images: uint8 (N, C, H, W), the test rows; a table is not drawn.
        y: labels or targets (N,).
        exported: what the exported network says: probabilities (N, K) or predictions (N,).
    """
    checkpoint.remove(folder)  # of an earlier opening, which may have drawn others
    with plt.rc_context({"svg.hashsalt": "rungwise", "font.size": 10}):
        for name, figure in _figures(results, images, y, exported):
            final_plots.save(figure, folder, name)


def _figures(
    results: dict[str, Any], images: np.ndarray, y: np.ndarray, exported: np.ndarray
) -> Iterator[tuple[str, Figure]]:
    drawn: dict[str, Any] = {"contenders": final_plots.plot_entrants}
    if "confused" in results:
        drawn |= {
            "classes": final_plots.plot_classes,
            "confusion": final_plots.plot_confusion,
            "calibration": final_plots.plot_calibration,
        }
    if results["references"]:
        drawn["references"] = final_plots.plot_references
    for name, plot in drawn.items():
        figure = plot(results).figure
        assert isinstance(figure, Figure)
        yield name, figure
    if results.get("mistakes") and images.ndim == 4:
        yield "mistakes", final_plots.plot_mistakes(results, images)
    if "residuals" in results:
        figure = final_plots.plot_residuals(y, exported).figure
        assert isinstance(figure, Figure)
        yield "residuals", figure


def write_tables(results: dict[str, Any], folder: Path, *, y: np.ndarray, exported: np.ndarray) -> None:
    """Contenders, classes, confusion matrix and the exported network's predictions, one CSV each."""
    checkpoint.remove(folder)
    folder.mkdir(parents=True)
    rows = [
        {"contender": e["name"], "metric": metric, **found, "seeds": len(e["seeds"])}
        for e in results["entrants"]
        for metric, found in e["scores"].items()
    ]
    write_csv(pd.DataFrame(rows), folder / "contenders.csv")
    winner = next(e for e in results["entrants"] if e["name"] == results["winner"])
    if "classes" not in winner:
        write_csv(pd.DataFrame({"target": y, "predicted": exported}), folder / "predictions.csv")
        return
    names = list(winner["classes"])
    by_class = [
        {"class": name, "support": results["support"][name]}
        | {f"{metric}_{key}": value for metric, found in scores.items() for key, value in found.items()}
        for name, scores in winner["classes"].items()
    ]
    write_csv(pd.DataFrame(by_class), folder / "classes.csv")
    counts = pd.DataFrame(winner["confusion"], columns=pd.Index(names))
    counts.insert(0, "label", pd.Series(names))
    write_csv(counts, folder / "confusion.csv")
    labels = np.array(names, dtype=object)
    answers = {"label": labels[y], "predicted": labels[exported.argmax(1)], "probability": exported.max(1)}
    write_csv(pd.DataFrame(answers), folder / "predictions.csv")


def write_text(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    os.replace(partial, path)
