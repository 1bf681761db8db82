"""Random tables and image folders with random options, opened, trained, exported and predicted as the commands do it.

    run(count=200, seed=0)

A search that cannot be must be refused in one line. Otherwise rows that belong together are on one side of the split,
every metric is a finite number, a training continues with the same bits, and the exported model answers every row, with
an interval around it where one is asked for.
"""

import csv
import json
import math
import random
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from PIL import Image

from analysis import predict
from analysis.model.conformal import fit
from analysis.model.write import export_model
from search.runtime.resources import Resources
from search.session.checks import check
from search.session.options import Options
from search.session.session import Session
from spaces.objectives import goals
from trainables.data.dataset import Dataset
from trainables.sources.load import load_test
from trainables.trainable import Setting
from trainables.training.training import Training

_ONE = Resources(slots=1, cpus_per_trial=1, gpus_per_trial=0.0)
_EPOCHS = 3


def run(count: int, seed: int = 0) -> dict[str, Any]:
    """Play so many cases, one in five an image folder.

    Returns:
        `outcomes`: how many were refused and how many were used; `faults`: a line for each that went wrong.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    outcomes: Counter[str] = Counter()
    faults = []
    for index in range(count):
        draw = random.Random(f"{seed}/{index}")
        with tempfile.TemporaryDirectory(prefix="rungwise-fuzz-") as folder:
            words = _images(draw, Path(folder)) if index % 5 == 4 else _table(draw, Path(folder))
            outcome = _play(words, Path(folder), draw)
        outcomes[outcome.partition(":")[0]] += 1
        if not outcome.startswith(("used", "refused")):
            shown = {name: str(value) for name, value in words.items() if name not in ("runs_dir", "name")}
            faults.append(f"{seed}/{index} {shown}: {outcome}")
    return {"outcomes": dict(outcomes), "faults": faults}


def _table(draw: random.Random, folder: Path) -> dict[str, Any]:
    """Write a table, and return the options of a search on it."""
    rows, sites = draw.randint(55, 140), draw.choice((2, 4, 9, 40))
    numbers = [draw.gauss(0, 1) for _ in range(rows)]
    cells = [
        [
            f"s{draw.randrange(sites)}",
            f"2024-{1 + row // 28 % 12:02d}-{1 + row // draw.choice((1, 3)) % 28:02d}",
            draw.choices(("train", "validation", "test"), (6, 2, 2))[0],
            "" if draw.random() < 0.1 else f"{number:.1f}",
            draw.choice(("red", "blue", "")),
        ]
        for row, number in enumerate(numbers)
    ]
    targets, classes = _targets(draw, numbers)
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["site", "day", "part", "size", "colour", "y"])
        writer.writerows([*row, target] for row, target in zip(cells, targets, strict=True))
    with (folder / "parts.csv").open("w", encoding="utf-8") as file:
        file.write("split\n" + "".join(f"{row[2]}\n" for row in cells))
    ways = ["random", "distinct", "time", "time:day", "group:site", "column:part", f"file:{folder / 'parts.csv'}"]
    names = goals("classification" if classes else "regression") if draw.random() < 0.9 else goals()
    metric = draw.choice(names).replace(":Q", draw.choice((":0.1", ":0.9")))
    return {
        "space": "tabular_mlp", "data_dir": folder / "rows.csv", "target": "y",
        "task": None if classes or draw.random() < 0.5 else "regression",
        "split": draw.choice(ways), "metric": draw.choice((None, metric)), **_shared(draw, folder),
    }  # fmt: skip


def _targets(draw: random.Random, numbers: Sequence[float]) -> tuple[list[str], bool]:
    """The target of each row, and whether they are classes."""
    if draw.random() < 0.5:
        names, share = ("no", "yes", "perhaps")[: draw.randint(2, 3)], draw.choice((0.5, 0.1, 0.04))
        return [names[0] if draw.random() > share else draw.choice(names[1:]) for _ in numbers], True
    bend: Callable[[float], float] = draw.choice(
        (
            lambda x: x,
            lambda x: 1.0 * math.exp(x),
            lambda x: max(0.0, x - 1),
            lambda x: 1e12 * math.exp(3 * x),
            lambda x: 1e-9 * math.exp(x),
            lambda x: float(round(math.exp(x))),
            lambda x: 1e6 + x,
        )
    )
    return [f"{bend(number + 0.3 * draw.gauss(0, 1)):.9g}" for number in numbers], False


def _images(draw: random.Random, folder: Path) -> dict[str, Any]:
    """Write an image folder, and return the options of a search on it."""
    names, random_pixels = ("cat", "dog", "owl")[: draw.randint(2, 3)], np.random.default_rng(draw.randrange(10**9))
    parts = []
    for name in names:
        (folder / "images" / "train" / name).mkdir(parents=True)
        for number in range(draw.choice((12, 20, 40))):
            size = (draw.randint(8, 30), draw.choice((8, 16, 29)))
            file = f"train/{name}/p{number % draw.choice((3, 7))}_{number}.png"
            Image.fromarray(random_pixels.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / "images" / file)
            parts.append((file, draw.choices(("train", "validation", "test"), (6, 2, 2))[0]))
    with (folder / "parts.csv").open("w", encoding="utf-8") as file:
        file.write("file,split\n" + "".join(f"{name},{part}\n" for name, part in parts))
    ways = ["random", "group:_", f"file:{folder / 'parts.csv'}", "time"]
    return {
        "space": "image_folder_arch", "data_dir": folder / "images", "split": draw.choice(ways),
        "resize": draw.choice((None, "letterbox", "crop", "stretch")), "image_size": draw.choice((None, 8, 12, 33)),
        "metric": draw.choice((None, *goals("classification"))), **_shared(draw, folder),
    }  # fmt: skip


def _shared(draw: random.Random, folder: Path) -> dict[str, Any]:
    return {
        "folds": draw.choice((None, None, 1, 2, 3, 6)),
        "keep_epoch": draw.choice((None, None, "last", "best")),
        "train_size": draw.choice((None, None, None, 40)),
        "max_epochs": _EPOCHS,
        "runs_dir": folder / "runs",
        "name": "r",
    }


def _play(words: dict[str, Any], folder: Path, draw: random.Random) -> str:
    """`used`, `refused`, or what went wrong."""
    try:
        options = Options(**words)
        check(options)
        session = Session.open(options, given=set(words), resources=_ONE)
    except (ValueError, OSError) as error:
        return "unclear: " + str(error)[:300] if "\n" in str(error) or not str(error) else "refused"
    except Exception:
        return f"traceback: {traceback.format_exc(limit=-4)}"
    try:
        return _together(session) or _trained(session, folder, draw) or "used"
    except Exception:
        return f"traceback: {traceback.format_exc(limit=-4)}"


def _together(session: Session) -> str:
    """Which rows of a group are on both sides of the split, in words; empty if none are."""
    dataset: Dataset = session.dataset
    for one in [dataset.fold(number) for number in range(len(dataset.folds))] or [dataset]:
        count = len(one.train)
        if one.groups is not None and set(one.groups[:count].tolist()) & set(one.groups[count:].tolist()):
            return "wrong: a group is on both sides"
        if not count or not len(one.validation):
            return "wrong: there are no rows on one side"
    test = load_test(dataset.name, session.run.data_dir, like=dataset)
    if dataset.split.way == "distinct":
        seen = {row.tobytes() for row in np.nan_to_num(dataset.train.x.numpy(), nan=-1)}
        if any(row.tobytes() in seen for row in np.nan_to_num(test.x.numpy(), nan=-1)):
            return "wrong: a test row has the inputs of a training row"
    return "" if len(test) else "wrong: there are no test rows"


def _trained(session: Session, folder: Path, draw: random.Random) -> str:
    """What goes wrong when a configuration is trained, continued, exported and used; empty if nothing does."""
    run, space, dataset = session.run, session.space, replace(session.dataset, passes=1)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=draw.randrange(10**6)))
    trial = study.ask()
    space.suggest(trial)
    params = {**trial.params, **{n: 16 for n in trial.params if n.startswith("width") and dataset.mean}}
    setting = Setting(epochs=_EPOCHS, seed=1, keep=run.keep)
    first, second = (space.work.build(space.decode(params), dataset, setting) for _ in range(2))
    records = [first.run_epoch()]
    second.restore(first.state())
    records += [first.run_epoch(), first.run_epoch()]
    if not all(math.isfinite(record[run.metric]) for record in records):
        return f"wrong: {run.metric} is {[record[run.metric] for record in records]}"
    if [second.run_epoch()[run.metric] for _ in range(2)] != [record[run.metric] for record in records[1:]]:
        return "wrong: a training that was continued has other values"
    one = dataset.fold(0) if dataset.folds else dataset
    training = space.work.build(space.decode(params), one, Setting(epochs=_EPOCHS, seed=1))
    assert isinstance(training, Training)
    training.run_epoch()
    return _predicted(training, {"space": run.space, "params": params, "seed": 1}, session, folder)


def _predicted(training: Training, facts: dict[str, Any], session: Session, folder: Path) -> str:
    final = folder / "exported" / "final"
    final.mkdir(parents=True)
    dataset, words = training.dataset, []
    if dataset.task == "regression":
        seen = np.tile(training.predict(dataset.train.x)[:, 0].double().numpy(), 3)
        conformal = fit(seen, np.tile(dataset.train.y.double().numpy(), 3), np.arange(len(seen)) % 5)
        facts["conformal"] = {"sha256": conformal.write(final), "rows": len(seen)}
        words = ["--interval", "0.8"]
    export_model(final, training, facts=facts)
    data = Path(session.run.data_dir)
    files = [str(data)] if data.is_file() else [str(path) for path in sorted(data.glob("train/*/*"))]
    said, complaints = StringIO(), StringIO()
    with redirect_stdout(said), redirect_stderr(complaints):
        code = predict.main([str(final), *files, "--json", *words])
    rows = [json.loads(line) for line in said.getvalue().splitlines()]
    expected = len(data.read_text(encoding="utf-8").splitlines()) - 1 if data.is_file() else len(files)
    shutil.rmtree(final.parent)
    if code or len(rows) != expected:
        return f"wrong: predict ends with {code} and {len(rows)} of {expected} rows: {complaints.getvalue()[:300]}"
    if not all(row["low"] <= row["high"] and math.isfinite(row["prediction"]) for row in rows if words):
        return "wrong: an interval or a prediction is none"
    return ""
