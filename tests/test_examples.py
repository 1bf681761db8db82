"""The programs in examples/: each trains what its space says, and a pause after every epoch changes no bit.

Those in examples/before/ are the same programs as their users had them.
"""

from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest

from analysis.scores.predictions import Predictions, settle, settle_numbers
from spaces.guarded import Guarded
from spaces.space import Space, load
from tests.own_spaces import PROGRAMS, skip_without_packages
from tests.searching import ROOT
from trainables.files import checkpoint
from trainables.own.stored import difference
from trainables.trainable import Selection, Setting, close

EPOCHS = 3
MAX_LINES = 15
TASKS = {
    "data_parallel": {"accuracy"},
    "huggingface_trainer": "classification", "lightgbm_continued": "regression", "lightning_module": "regression",
    "ray_tune_style": {"accuracy"}, "sklearn_partial_fit": "classification", "speedrun": {"accuracy"},
}  # fmt: skip
"""What the `test` of each gives: predictions, or numbers by name."""


@pytest.fixture(params=PROGRAMS)
def space(request: pytest.FixtureRequest) -> Space:
    skip_without_packages(request.param)
    return load(str(ROOT / "examples" / f"{request.param}.py"))


def make(space: Space) -> Any:
    data = space.work.load(Selection())
    return space.work.build(space.decode(space.baseline), data, Setting(epochs=EPOCHS, seed=5))


def told(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if not any(word in k for word in ("seconds", "runtime", "per_second"))}


@pytest.mark.filterwarnings("ignore")
def test_a_pause_after_every_epoch_changes_no_bit(space: Space, tmp_path: Path):
    training = make(space)
    expected = [told(dict(training.run_epoch())) for _ in range(EPOCHS)]
    last = dict(training.state())
    close(training)
    records = []
    for epoch in range(EPOCHS):
        training = make(space)
        found = checkpoint.load_newest(tmp_path)
        if found is not None:
            training.restore(found.state)
        records.append(told(dict(training.run_epoch())))
        checkpoint.save(tmp_path, dict(training.state()), epoch=epoch + 1)
        close(training)
    assert records == expected
    found = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert found.state is not None
    for part in ("objects", "random"):
        assert difference(found.state[part], last[part]) is None
    again = make(space)
    again.restore(found.state)
    assert space.test is not None
    given = space.test(again.result(), again.run)
    close(again)
    found = settle(given).kind if isinstance(given, Predictions) else set(settle_numbers(given))
    assert isinstance(space.suggest, Guarded)
    assert found == TASKS[Path(space.suggest.function.__code__.co_filename).stem]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_ported_with_at_most_fifteen_changed_or_added_lines(name: str):
    before, after = (
        path.read_text().splitlines()
        for path in (ROOT / "examples" / "before" / f"{name}.py", ROOT / "examples" / f"{name}.py")
    )
    added = [line for line in unified_diff(before, after, n=0) if line.startswith("+") and not line.startswith("+++")]
    assert 0 < len(added) <= MAX_LINES
