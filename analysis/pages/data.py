"""The part of the report about a table that a search trained on."""

from collections.abc import Sequence
from typing import Any

from analysis.datasets.tables import TableOverview, findings, leakage
from analysis.pages.page import Folder, Section, text
from analysis.plots.datasets import MOST_FEATURES, feature_panels, plot_correlations, plot_map, plot_target
from search.process.text import counted


def table_data(found: TableOverview, folder: Folder, *, prepared: Sequence[str] = ()) -> Section:
    """The section on the table that the search trained on.

    Args:
        found: the table.
        folder: where figures and tables go.
        prepared: how the winner preprocesses the columns, in sentences.
    """
    numbers = (found.features["kind"] == "number").all()
    features = found.features.drop(columns="most_frequent") if numbers else found.features
    blocks: list[Any] = [
        text(found.why) if found.why else text(f"The table {found.name}."),
        text(
            f"{_counted_rows(found)} with "
            f"{counted(len(found.train.inputs), 'feature')}. The search does not use the test set. Everything below "
            f"describes the training rows only{', of the last fold' * (found.folds > 1)}."
        ),
        text(*filter(None, [found.split]), leakage(found), *repeated(found.repeats)),
        text(*findings(found), kind="list"),
        *_figures(found, folder),
        folder.table(
            "features",
            features,
            caption="Features, on the training rows." + " Each number of a text has a row." * _has_texts(found),
        ),
    ]
    if prepared:
        blocks += [text("How the best configuration prepares the columns:"), text(*prepared, kind="list")]
    return Section(id="data", title="Data", blocks=tuple(blocks))


def _has_texts(found: TableOverview) -> bool:
    return any(column.text for column in found.train.columns)


def _counted_rows(found: TableOverview) -> str:
    if found.folds > 1:
        return f"{len(found.train.y) + found.num_validation:,} rows in {found.folds} folds"
    return f"{len(found.train.y):,} training and {found.num_validation:,} validation rows"


def repeated(count: int) -> list[str]:
    """A sentence on training rows that repeat another one; none without such rows."""
    some = counted(count, "training row repeats", plural="training rows repeat")
    return [f"{some} another row."] if count else []


def _figures(found: TableOverview, folder: Folder) -> list[Any]:
    figures = [
        folder.picture(
            "data_target",
            lambda: plot_target(found),
            alt=f"Distribution of {found.target or 'the target'} over the training rows",
            caption=f"Distribution of {found.target or 'the target'}.",
        )
    ]
    if found.places:
        figures.append(
            folder.picture(
                "data_map",
                lambda: plot_map(found),
                alt="Training rows by longitude and latitude, coloured by the target",
                caption="Places of the training rows, coloured by the target.",
            )
        )
    drawn = sum(not column.text for column in found.train.columns)
    more = f" The first {MOST_FEATURES} of {drawn}." if drawn > MOST_FEATURES else ""
    more += " Texts are not drawn." if _has_texts(found) else ""
    figures += [
        folder.picture(
            "data_correlations",
            lambda: plot_correlations(found),
            alt="Rank correlations of the features with the target and with each other",
            caption="Spearman's rank correlations; the first row is the target, if its values have an order."
            + " Each number of a text has its own." * _has_texts(found),
            wide=len(found.features) > 10,
        ),
        folder.grid(
            "data_features",
            feature_panels(found),
            alt="Histograms of the features over the training rows",
            caption=f"Distributions of the features, from the 0.5th to the 99.5th percentile.{more}",
        ),
    ]
    return figures
