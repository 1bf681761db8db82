"""Reads studies and explains them: reports, answers, final evaluations, predictions.

    report ask compare watch final predict publish   the commands
    docs case_study                                  the commands that write our own documents
    evaluation                                       the final evaluation on the sealed test set
    pages                                            HTML pages, section by section
    model                                            the winner as files, and its predictions
    plots prose                                      figures; findings in sentences
    scores                                           metrics with intervals, comparisons, baselines
    impact                                           which hyperparameters matter
    statistics                                       bootstrap and linear models, without studies
    studies datasets                                 studies as tables; facts about data
    progress wording                                 what a command is doing; numbers in words

Each package may import those below it.
Imports search, spaces and trainables; only rungwise imports it. Does not import Ray.
"""

import warnings

import search  # noqa: F401  # pyright: ignore[reportUnusedImport] - first, so that Ctrl-C is quiet from here on

warnings.filterwarnings("ignore", "IProgress not found")  # tqdm's, as the first output of a notebook: no bar is drawn
