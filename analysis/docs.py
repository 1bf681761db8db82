"""Writes the evaluation docs/report.md, and the table of results in the README, from what results/ holds.

python -m analysis.docs

The prose is in analysis/templates/evaluation.md; every number in it is read from a published run.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from search.process.arguments import Flag, parse, report_error, report_fault, run_command
from trainables.files.whole import write_whole

if TYPE_CHECKING:
    from analysis.studies.trials import Trials

TOPICS = (
    "depth", "width", "num_blocks", "block", "kernel_size", "batch_norm", "activation", "pooling", "conv_dropout",
    "head_width", "head_dropout", "dropout", "augmentation", "crop_padding", "cutout", "mixup", "optimizer", "sgd_lr",
    "adamw_lr", "momentum", "sgd_weight_decay", "adamw_weight_decay", "schedule", "warmup", "batch_size",
    "label_smoothing", "ema_decay", "clip_norm",
)  # fmt: skip
"""Order of hyperparameters in the tables; a `width_0` stands with `width`."""
TITLES = {
    "fashion": "Fashion-MNIST",
    "cifar_gpu": "CIFAR-10 on a GPU",
    "cifar": "CIFAR-10 on two cores",
    "housing": "California housing",
}
"""The published runs, in the order of the pages."""
MARKS = "<!-- results -->", "<!-- end -->"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write docs/report.md and the table of results in the README."""

    results: Path = Path("results")
    """Folder of published runs, see analysis.publish."""
    out: Path = Path("docs/report.md")
    """The evaluation."""
    readme: Path = Path("README.md")
    """The table is written into it, between `<!-- results -->` and `<!-- end -->`."""
    check: Flag = False
    """Write nothing; exit with 2 if a file does not match results/."""
    debug: Flag = False
    """Show the traceback of an error."""


def main(argv: list[str]) -> int:
    """Write both files; 0 when done (with --check: when nothing would change), 1 when broken off, 2 for bad input."""
    try:
        options = parse(Options, argv, prog="python -m analysis.docs")
        for path, text in pages(options).items():
            if not options.check:
                write_whole(path, text)
                print(path)
            elif path.read_text(encoding="utf-8") != text:
                raise ValueError(f"{path} does not match {options.results}; update it with: make docs")
    except (ValueError, OSError) as error:
        if "--debug" in argv:
            raise
        return report_error(error)
    except Exception as error:  # results of another form than ours
        return report_fault(error, debug="--debug" in argv)
    return 0


def pages(options: Options) -> dict[Path, str]:
    """Path and text of the two files.

    Raises:
        ValueError: a published run lacks its final evaluation, or the README its marks.
    """
    from analysis import wording
    from analysis.impact.effects import MIN_TRIALS
    from analysis.pages.templates import environment

    studies = [read_study(path.parent) for path in sorted(options.results.glob("*/run.json"))]
    templates = environment(html=False)
    templates.filters |= {"count": wording.count, "named": wording.named}
    by_name = {name: study for name in TITLES for study in studies if study["run"].name == name}
    templates.filters |= {"study": by_name.__getitem__, "titled": TITLES.__getitem__}
    given = {"studies": by_name, "titles": TITLES, "words": wording, "min_trials": MIN_TRIALS}
    text = templates.get_template("evaluation.md").render(**given)
    table = templates.get_template("results.md").render(**given)
    readme = options.readme.read_text(encoding="utf-8")
    if not all(mark in readme for mark in MARKS):
        raise ValueError(f"{options.readme} must contain the marks {' and '.join(MARKS)}")
    filled = re.sub(f"(?s)(?<={MARKS[0]}\n).*?(?={MARKS[1]})", lambda _: table, readme, count=1)
    return {options.out: text, options.readme: filled}


def read_study(folder: Path) -> dict[str, Any]:
    """All that the pages state of one published run, as plain values.

    Returns:
        `run`, `results` (final.json), `winner`, `baseline`, `random` (entrants; the last may be None), `topics`
        (sentences by topic), `trials`, `states` (number of trials in each), `num_paused` (unfinished trials at a rung),
        `num_epochs`, `computing` (what all epochs took), `saved` (share of epochs), `effects` (at the full budget),
        `early` (effects at the first rung), `confirmed` (single changes that were trained again, see
        `read_confirmed`), `classes` (rows of each class in the splits, for images), `num_training`, `num_validation`,
        `correlations` (of ranks between rungs), `settled` (levels on which all trials that were trained to the end
        agree), `levels` (how many of these have each level), `answers` (to the questions asked, a sentence each),
        `pflop` (operations of one final training of `winner` and `baseline`, for images), `figures` (their names).
    """
    import optuna

    from analysis.case_study import read_final
    from analysis.prose.discussion import by_topic, discuss
    from analysis.studies.trials import read_trials
    from search.storage.run import read_run
    from search.storage.study import open_study

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    run, results = read_run(folder), read_final(folder)
    study = open_study(folder)
    trials = read_trials(study, run)
    return {
        "run": run,
        "results": results,
        **_name_entrants(results),
        "pflop": _operations(results),
        "topics": by_topic(discuss(results, study, run)),
        "trials": trials,
        "states": trials.trials["state"].value_counts().to_dict(),
        **_describe_effort(trials, run),
        **_count_rows(results.conditions, run.validation_fraction),
        **_read_tables(folder / "report" / "tables", metric=run.metric),
        **count_levels(trials),
        **_read_answers(trials, folder, run=run),
        **read_confirmed(folder / "confirm" / "results.csv", sign=trials.sign),
    }


def _read_answers(trials: "Trials", folder: Path, *, run: Any) -> dict[str, Any]:
    """`answers`, and how many configurations of each level were trained again, on how many seeds."""
    from analysis.impact.answers import read_answers
    from analysis.pages.questions import verdicts

    found = read_answers(folder)
    return {
        "answers": verdicts(trials, folder, run=run).sentences,
        "num_retrained": max((len(level.configurations) for one in found for level in one.levels), default=0),
        "num_seeds_retrained": max((one.seeds for one in found), default=0),
    }


def _count_rows(conditions: dict[str, Any], validation_fraction: float) -> dict[str, int]:
    """`num_training` and `num_validation` rows of the search; the final networks may have trained on all of them."""
    held_out, trained = conditions.get("held_out_rows") or 0, conditions["train_rows"]
    num_validation = held_out or round(trained * validation_fraction)
    return {"num_training": trained + held_out - num_validation, "num_validation": num_validation}


def _name_entrants(results: Any) -> dict[str, Any]:
    """`winner`, `baseline`, and `random` or None."""
    entrants = {entrant.name: entrant for entrant in results.entrants}
    return {"winner": results.winning, "baseline": entrants["baseline"], "random": entrants.get("random")}


def _operations(results: Any) -> dict[str, float]:
    """10^15 operations of one training of winner and baseline: 6 for each multiply-add, row and epoch."""
    passes = results.conditions["train_rows"] * results.conditions["epochs"]
    named = _name_entrants(results)
    return {name: 6 * named[name].macs * passes / 1e15 for name in ("winner", "baseline")}


def _describe_effort(trials: "Trials", run: Any) -> dict[str, Any]:
    """`num_epochs`, what these took (`computing`), the share of epochs that was `saved`, and `num_paused`."""
    from analysis import wording
    from analysis.studies.amounts import effort
    from analysis.studies.rows import UNFINISHED
    from search.process.text import share_saved

    trained = effort(trials)
    unfinished = trials.trials[trials.trials["state"] == UNFINISHED]
    return {
        "num_epochs": trained.epochs,
        "num_paused": int(unfinished["epochs"].isin(run.rungs).sum()),
        "saved": share_saved(int(trials.measured["epochs"].sum()), full=len(trials.measured) * run.epochs),
        "computing": wording.computing(trained.seconds / 3600, run.machine),
    }


def _read_tables(tables: Path, *, metric: str) -> dict[str, Any]:
    """`effects`, `early`, `classes`, `correlations` and `figures`, as the report has written them."""
    classes = tables / "classes.csv"
    return {
        "figures": {path.stem for path in tables.parent.glob("figures/*.png")},
        "effects": read_effects(tables / "effects.csv", metric=metric),
        "early": read_effects(tables / "early_effects.csv", metric=metric),
        "classes": pd.read_csv(classes).to_dict("records") if classes.exists() else [],
        "correlations": _read_correlations(tables / "correlations.csv"),
    }


def _read_correlations(path: Path) -> list[dict[str, Any]]:
    """The rows of correlations.csv; `num_trials` is the name of an earlier release for the column of trials."""
    return [
        {str(k): v for k, v in row.items()}
        for row in pd.read_csv(path).rename(columns={"trials": "num_trials"}).to_dict("records")
    ]


def count_levels(trials: "Trials") -> dict[str, Any]:
    """`levels`: for each hyperparameter with levels how many complete trials have which; `settled`: see read_study."""
    from analysis.studies.trials import params_of

    chosen = params_of(trials.complete)
    levels = {}
    for parameter in trials.parameters:
        if parameter.levels and parameter.name in chosen:
            values = chosen[parameter.name].dropna()
            levels[parameter.name] = {parameter.text(value): int(n) for value, n in values.value_counts().items()}
    count = len(chosen)
    settled = {name: next(iter(found)) for name, found in levels.items() if list(found.values()) == [count]}
    return {"levels": levels, "settled": settled}


def read_effects(path: Path, *, metric: str) -> list[dict[str, Any]]:
    """The rows of a report's effects.csv, by topic, each with `found` and the `text` of its estimate.

    A report of an earlier release has no early_effects.csv, and so no rows.
    """
    from analysis import wording

    if not path.exists():
        return []

    rows = [{str(key): value for key, value in row.items()} for row in pd.read_csv(path).to_dict("records")]
    for row in rows:
        row["found"] = row["verdict"] == "effect"
        scale = 0.01 if wording.is_share(metric) else 1.0  # the report tells shares in points
        values = {"value": scale * row["effect"], "low": scale * row["low"], "high": scale * row["high"]}
        row["text"] = "-" if pd.isna(row["effect"]) else wording.gap(metric, values)
    return sorted(rows, key=lambda row: _place(row["hyperparameter"]))


def read_confirmed(path: Path, *, sign: float) -> dict[str, Any]:
    """`confirmed`: the rows of `analysis.impact.confirm.paired`, none where nothing was confirmed; `confirmed_epochs`,
    and `confirmed_names` of the hyperparameters that were changed."""
    from analysis.impact import confirm

    if not path.exists():
        return {"confirmed": [], "confirmed_epochs": 0, "confirmed_names": []}
    table = pd.read_csv(path)
    paired = confirm.paired(table, sign=sign)
    rows = paired[paired["num_seeds"] > 0].to_dict("records")
    names = list(dict.fromkeys(str(row["flip"]).split(":")[0] for row in rows))
    return {"confirmed": rows, "confirmed_epochs": int(table["epochs"].iloc[0]), "confirmed_names": names}


def _place(name: str) -> tuple[int, str]:
    stem = re.sub(r"_\d+$", "", name)
    return (TOPICS.index(stem) if stem in TOPICS else len(TOPICS), name)


if __name__ == "__main__":
    run_command(main)
