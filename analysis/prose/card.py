"""The model card: final/README.md, in the headings that model hubs use."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from analysis import wording
from analysis.studies.openings import times, times_opened
from analysis.studies.results import Entrant, FinalResults
from analysis.wording import between, count, gap, held, title, trained_for, trained_on
from search.process.text import counted
from search.storage.checking import build
from spaces.changes import Range, ReplacedRange
from trainables.data.options import ImageOptions
from trainables.data.table import columns_from
from trainables.files.whole import write_whole
from trainables.training.quantile import quantile_in

_CARD = """\
---
library_name: pytorch
tags: [{task}, rungwise]
datasets: [{tagged}]
metrics: [{metrics}]
---

# {model} for {dataset}

A network found by hyperparameter search and retrained, exported with its weights and everything needed to use it.

## Model details

- {space}, {origin}, trained on seed {seed}, the first of {num_seeds}; it was not selected by its test score.
- {weights} weights, {macs} multiply-adds per row; input {shape}, {inputs}.
- Trained for {epochs} on {train_rows:,} rows ({rows}), {hardware}.
- Weights: `model.safetensors`, sha256 `{sha256}`; everything else: `model.json`.

## Intended use

{use} The network also gives a prediction for rows that are unlike those of {dataset}: {doubt}test it on your own
rows before you rely on it.

## How to use

```
python -m analysis.predict {run} {example}
```

```python
{python}
```

## Training data

{dataset}; checksum of the training rows `{checksum}`.{split}

## Evaluation

On {test_rows}, opened {openings}, mean over {networks}, with 95 % intervals over
{units} and seeds. The search optimised {goal}.

| metric | value |
| --- | --- |
{scores}

{against}
{intervals}
## Limitations

{limits}

## Configuration

```json
{params}
```

## Reproduce

Created by `{command}` on {created} with {versions}.
"""

_OF_A_TABLE = """\
from analysis.model.load import load_model
from analysis.model.tables import answer_table

model = load_model({run})
outputs = answer_table(model, "rows.csv").outputs  # {outputs}"""
_OF_IMAGES = """\
import torch

from analysis.model.load import load_model
from analysis.predict import read_image

model = load_model({run})
image, _ = read_image("image.png", shape=model.image_shape, levels=model.levels, form=model.images)
outputs = model.predict(torch.from_numpy(image[None]))  # uint8 (N, C, H, W) -> {outputs}"""
_OF_NUMBERS = """\
import torch

from analysis.model.load import load_model

model = load_model({run})
outputs = model.predict(torch.zeros(1, {size}))  # a tensor, float32 (N, F) -> {outputs}"""

_ROWS = " It compares rows with training rows, which the file contains; do not share it if they are confidential."

_WEIGHTS = {
    weights: f" Rows of rare classes had more weight in training (class_weights {weights}): it states larger"
    " probabilities for them than the share of rows for which they are right."
    for weights in ("sqrt", "balanced")
}
_SCALES = {
    kind: f" It was trained on the {words} of the target, so its predictions are nearer to the median than to the mean"
    " of such rows."
    for kind, words in (("log", "logarithm"), ("quantile", "rank"))
}


def model_card(results: FinalResults, facts: dict[str, Any], *, opened: str = "") -> str:
    """The card as Markdown.

    Args:
        results: final.json.
        facts: model.json.
        opened: how often the test set was, by the log; as final.json has it when empty.
    """
    winner = results.winning
    fields = _model_fields(results, facts, winner) | _result_fields(results, winner, opened=opened)
    tagged = _yaml(facts["dataset"])
    return _CARD.format(dataset=_plain(facts["dataset"]), tagged=tagged, num_seeds=len(winner.seeds), **fields)


def restate_openings(card: str, final_dir: Path) -> str:
    """The card with the number of openings as it is now: an evaluation that was killed leaves the card before it."""
    opened = times_opened(final_dir)
    return re.sub(r"(test rows, opened )[^\n]+(, mean over)", lambda found: found[1] + opened + found[2], card, count=1)


def restate_card(final_dir: Path) -> None:
    """Update final/README.md if its number of openings differs from the log; an error of writing is ignored."""
    path = final_dir / "README.md"
    with suppress(OSError, ValueError):
        card = path.read_text(encoding="utf-8")
        if (now := restate_openings(card, final_dir)) != card:
            write_whole(path, now)


def _model_fields(results: FinalResults, facts: dict[str, Any], winner: Entrant) -> dict[str, Any]:
    images, classes = len(facts["image_shape"]) == 3, facts["classes"]
    trial = f"trial {winner.trial} of run {_plain(results.run)}"
    return {
        "task": f"{'image' if images else 'tabular'}-{facts['task']}",
        "model": title(winner.name).capitalize(),
        "space": f"Space `{facts['space']}`{_ranges(facts)}",
        "origin": "baseline" if winner.trial is None else trial,
        "seed": facts["seed"],
        "weights": count(facts["num_weights"]),
        "macs": count(facts["macs"]),
        "shape": " x ".join(map(str, facts["image_shape"])),
        "inputs": f"{'grey levels 0 to 255' if images else _features(facts)}, normalised by the network{_form(facts)}",
        "sha256": facts["sha256"],
        "use": _use(facts, results),
        "doubt": "check the probability, and " if classes else "",
        "example": "image.png" if images else "rows.csv",
        "python": python_example(facts, results.run_dir),
        "checksum": facts["dataset_checksum"],
        "params": json.dumps(facts["params"], indent=2),
    }


def python_example(facts: dict[str, Any], run_dir: str) -> str:
    """A program that predicts `rows.csv` or `image.png` in the current folder with the exported network.

    Args:
        facts: model.json.
        run_dir: folder of the run, as the program names it.
    """
    images = len(facts["image_shape"]) == 3
    example = _OF_IMAGES if images else _OF_A_TABLE if facts.get("columns") else _OF_NUMBERS
    outputs = "probabilities (N, K)" if facts["classes"] else "predictions (N,)"
    return example.format(run=json.dumps(run_dir), outputs=outputs, size=facts["image_shape"][0])


def _ranges(facts: dict[str, Any]) -> str:
    """The ranges that were set for the search, in place of those of the space."""
    found: list[Range | ReplacedRange] = [build(Range, one) for one in facts.get("ranges", ())]
    found += [build(ReplacedRange, one) for one in facts.get("replaced", ())]
    return f" with {'; '.join(_plain(str(one)) for one in found)}" if found else ""


def _result_fields(results: FinalResults, winner: Entrant, *, opened: str) -> dict[str, Any]:
    conditions = results.conditions
    limits = [_plain(s["text"]) for s in results.discussion if s["topic"] in ("weakness", "limit")]
    return {
        "metrics": ", ".join(map(_yaml, winner.scores)),
        "goal": f"the validation {results.in_unit(results.metric)}",
        "networks": counted(len(winner.seeds), "network"),
        "epochs": trained_for(conditions),
        "train_rows": conditions["train_rows"],
        "rows": trained_on(conditions.get("held_out_rows", 0)),
        "test_rows": wording.test_rows(conditions),
        "units": "whole groups of rows" if conditions.get("test_groups", 0) > 1 else "rows",
        "split": f" {_plain(split)}" if (split := conditions.get("split")) else "",
        "hardware": results.hardware,
        "run": results.run_dir,
        "openings": opened or times(results.openings),
        "scores": "\n".join(f"| {results.in_unit(m)} | {between(m, found)} |" for m, found in winner.scores.items()),
        "against": _against(results, winner),
        "intervals": _intervals(results),
        "limits": "\n".join(f"- {text}" for text in limits),
        "command": results.command,
        "created": results.created,
        "versions": ", ".join(f"{name} {version}" for name, version in results.versions.items()),
    }


def _intervals(results: FinalResults) -> str:
    """The paragraphs on prediction intervals and the ensemble; empty without them."""
    found, ensemble = results.export.get("intervals"), results.export.get("ensemble")
    joint = wording.joint(ensemble, metric=results.metric, unit=_plain(results.target_unit)) if ensemble else ""
    joint = f"\n{joint} Use it with `predict --ensemble`.\n" if joint else ""
    if not found:
        return joint
    told = held(found, target=_plain(results.target), unit=_plain(results.target_unit))
    return (
        f"\n{told} They suppose that new rows are drawn as these rows were; rows of a later time may differ. Use "
        f"them with `predict --interval {found['level']:g}`.\n{joint}"
    )


def _features(facts: dict[str, Any]) -> str:
    kinds = {column.reads: column.reads_as for column in columns_from(facts.get("columns", []))}
    names = [_plain(name) + " (free text)" * (kind == "text") for name, kind in kinds.items()]
    return ", ".join(names[:30]) + (", ..." if len(names) > 30 else "") if names else "numbers"


def _form(facts: dict[str, Any]) -> str:
    """How images become squares, as a clause; empty for other data."""
    if not facts.get("images"):
        return ""
    form = build(ImageOptions, facts["images"])
    squares = f"; {form.sentence[:-1].replace('Images', 'images', 1)}"
    if form.backbone is None or facts["params"].get("backbone", "none") == "none":
        return squares
    used = f"{facts['params']['backbone']} backbone {form.backbone.architecture} from `{form.backbone.path}`"
    return f"{squares}; {used} (sha256 `{form.backbone.sha256[:12]}`), whose weights are in the export"


def _use(facts: dict[str, Any], results: FinalResults) -> str:
    classes = [_plain(name) for name in facts["classes"]]
    thing = "an image" if len(facts["image_shape"]) == 3 else "a row of a table"
    if not classes:
        unit = f" in {_plain(results.target_unit)}" if results.target_unit else ""
        use = f"Predicts {_plain(results.target or 'one number')}{unit} for {thing}."
    else:
        named = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
        use = f"Classifies {thing} as one of {len(classes)} classes: {named}."
    notes = (_ROWS if facts["params"].get("neighbours") else "", _WEIGHTS.get(facts["params"].get("class_weights"), ""))
    if results.metric == "mae" or quantile_in(results.metric) is not None:  # a quantile is the same on every scale
        return use + "".join(notes)
    return use + "".join(notes) + _SCALES.get((facts.get("target_scale") or {"kind": ""})["kind"], "")


def _against(results: FinalResults, winner: Entrant) -> str:
    metric = results.metric
    text = "It is the baseline of its search space." if winner.role == "baseline" else "Its search had no baseline."
    if winner.difference:
        text = f"Compared with the baseline of its search space: {gap(metric, winner.difference)}."
    if results.baselines:
        rows = [
            f"| {b.title} | {between(metric, b.scores[metric])} | {gap(metric, b.difference)} |"
            for b in results.baselines
        ]
        text += (
            f"\n\nOther methods, on the same rows:\n\n| method | {results.in_unit(metric)} | this network minus "
            f"the method |\n"
        )
        text += "| --- | --- | --- |\n" + "\n".join(rows)
    return text


def _yaml(text: str) -> str:
    """A text as an entry of a list in YAML, in quotes where it needs them."""
    return text if re.fullmatch(r"[A-Za-z_][\w-]*", text) else json.dumps(text)


def _plain(text: str) -> str:
    """Text of the user's own (a class, a data set) that cannot act as Markdown or HTML."""
    escaped = "".join(f"\\{c}" if c in "\\`*_{}[]<>#|" else c for c in text)
    return "".join(c if c.isprintable() else " " for c in escaped)
