"""Figures of a study: every plot_*(…, ax=None) computes plain data first, then draws it and returns the axes.

Imports `scores`, `impact` and below; `pages`, `evaluation` and the commands may import it.
"""

from analysis.plots.cost import plot_pareto, plot_timeline
from analysis.plots.impact import (
    plot_ablation,
    plot_budget_correlation,
    plot_effect,
    plot_importance,
    plot_importance_by_rung,
    plot_interactions,
    plot_partial_dependence,
)
from analysis.plots.isolation import plot_isolation
from analysis.plots.search import (
    plot_history,
    plot_learning_curves,
    plot_parallel,
    plot_rung_survival,
    plot_slice,
)

__all__ = [
    "plot_ablation",
    "plot_budget_correlation",
    "plot_effect",
    "plot_history",
    "plot_importance",
    "plot_importance_by_rung",
    "plot_interactions",
    "plot_isolation",
    "plot_learning_curves",
    "plot_parallel",
    "plot_pareto",
    "plot_partial_dependence",
    "plot_rung_survival",
    "plot_slice",
    "plot_timeline",
]
