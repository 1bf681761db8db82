"""Every space: what is drawn can be decoded, built and trained; what does not belong is refused by name."""

import importlib
import math
import re
from dataclasses import replace
from functools import partial

import optuna
import pytest
import torch

import spaces
from spaces import space
from spaces.fingerprint import fingerprint as found_in
from spaces.space import Space
from tests.columns import table
from tests.pictures import make_images
from trainables.models.cnn import CnnConfig
from trainables.models.cost import measure_cost
from trainables.models.mlp import MlpConfig
from trainables.sources.load import load
from trainables.training.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")
NUM_DRAWS = 200
SHAPES = {
    "digits": (1, 8, 8), "cluttered_digits": (1, 16, 16), "fashion_mnist": (1, 28, 28), "cifar10": (3, 32, 32),
    "image_folder": (3, 8, 8),
}  # fmt: skip
OF_IMAGES = [name for name in spaces.available() if space.load(name).dataset in SHAPES]
IMAGE_SPACES = [name for name in OF_IMAGES if name != "image_folder_backbone"]
"""Without the one whose networks need a file; see test_backbone.py."""
TABLE_SPACES = [name for name in spaces.available() if name not in OF_IMAGES]


def draw(chosen: Space, num_draws: int, seed: int = 0) -> list[optuna.trial.Trial]:
    """Trials with random answers to everything that the space asks."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trials = [study.ask() for _ in range(num_draws)]
    for trial in trials:
        chosen.suggest(trial)
    return trials


@pytest.mark.parametrize("name", spaces.available())
def test_decode_inverts_suggest(name: str) -> None:
    chosen = space.load(name)
    for trial in draw(chosen, NUM_DRAWS):
        assert chosen.decode(trial.params) == chosen.suggest(trial)
        assert chosen.distributions(trial.params) == trial.distributions


@pytest.mark.parametrize("name", IMAGE_SPACES)
def test_every_draw_builds_and_gives_a_finite_loss(name: str) -> None:
    chosen = space.load(name)
    dataset = make_images(SHAPES[chosen.dataset], 4)
    for number, trial in enumerate(draw(chosen, NUM_DRAWS)):
        config = chosen.decode(trial.params)
        assert isinstance(config.model, CnnConfig)
        assert measure_cost(config.model, dataset).num_weights > 0  # in full size, on the meta device
        thin = replace(config, model=replace(config.model, widths=(8,) * len(config.model.widths)))
        training = Training(thin, dataset, epochs=1, seed=number)
        assert math.isfinite(training.run_epoch()["train_loss"])


@pytest.mark.parametrize("name", TABLE_SPACES)
def test_every_draw_for_a_table_builds_and_gives_a_finite_loss(name: str) -> None:
    chosen = space.load(name)
    dataset = load("diabetes" if chosen.dataset in ("csv", "california_housing") else chosen.dataset, "")
    for number, trial in enumerate(draw(chosen, NUM_DRAWS // 4)):
        config = chosen.decode(trial.params)
        assert isinstance(config.model, MlpConfig)
        training = Training(replace(config, model=replace(config.model, width=8)), dataset, epochs=1, seed=number)
        assert math.isfinite(training.run_epoch()["train_loss"])


@pytest.mark.parametrize("name", spaces.available())
def test_the_baseline_lies_inside_the_ranges(name: str) -> None:
    chosen = space.load(name)
    distributions = chosen.distributions(chosen.baseline)
    assert set(distributions) == set(chosen.baseline)
    assert chosen.decode(chosen.baseline) == chosen.decode(dict(reversed(list(chosen.baseline.items()))))


@pytest.mark.parametrize("name", spaces.available())
def test_what_a_file_states_is_what_its_space_is(name: str) -> None:
    found = space.load(name)
    stated = spaces.stated(name)
    assert {"dataset", "epochs"} <= set(stated)
    assert {fact: getattr(found, fact) for fact in stated} == stated


@pytest.mark.parametrize("name", spaces.available())
def test_a_draw_has_as_many_parameters_as_the_header_says(name: str) -> None:
    header = importlib.import_module(f"spaces.{name}").__doc__ or ""
    stated = re.search(r"Size: (\d+) to (\d+) parameters", header)
    assert stated
    counts = [len(trial.params) for trial in draw(space.load(name), NUM_DRAWS)]
    assert int(stated[1]) <= min(counts) <= int(stated[1]) + 2
    assert int(stated[2]) - 2 <= max(counts) <= int(stated[2])


@pytest.mark.parametrize("name", spaces.available())
def test_suggest_depends_on_nothing_but_the_answers(name: str) -> None:
    chosen = space.load(name)
    for trial in draw(chosen, 5, seed=1):
        torch.manual_seed(trial.number)
        assert chosen.suggest(optuna.trial.FixedTrial(trial.params)) == chosen.decode(trial.params)


@pytest.mark.parametrize("name", spaces.available())
def test_decode_names_what_is_missing_unknown_or_out_of_range(name: str) -> None:
    chosen = space.load(name)
    baseline = dict(chosen.baseline)
    first = next(iter(baseline))
    with pytest.raises(ValueError, match=f"parameter '{first}' is missing"):
        chosen.decode({key: value for key, value in baseline.items() if key != first})
    with pytest.raises(ValueError, match="parameter 'colour' is not part of this configuration"):
        chosen.decode({**baseline, "colour": 1})
    for key in baseline:
        with pytest.raises(ValueError, match=f"parameter '{key}' must lie in"):
            chosen.decode({**baseline, key: 1e9})


def test_conditions_ask_only_for_what_is_in_use() -> None:
    chosen = space.load("cifar_arch")
    for trial in draw(chosen, NUM_DRAWS):
        asked = trial.params
        assert sum(key.startswith("width_") for key in asked) == asked["depth"]
        assert ("momentum" in asked) == ("sgd_lr" in asked) == (asked["optimizer"] == "sgd")
        assert ("adamw_lr" in asked) == (asked["optimizer"] == "adamw")
        assert ("block" in asked) == (asked["num_blocks"] > 0)
        assert ("clip_norm" in asked) == (not asked["batch_norm"])
        for step in ("cutout", "mixup"):
            assert (step in asked) == (step in asked["augmentation"].split("_"))
        assert ("crop_padding" in asked) == ("crop" in asked["augmentation"].split("_"))


def test_digits_are_never_flipped() -> None:
    chosen = space.load("digits_arch")
    assert all(chosen.suggest(trial).augmentation.flip == "none" for trial in draw(chosen, NUM_DRAWS))


def test_an_unknown_space_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown space 'cifar_arc'.*did you mean cifar_arch\?"):
        space.load("cifar_arc")


@pytest.mark.parametrize(("name", "fingerprint"), spaces.EARLIER)
def test_a_run_of_an_earlier_release_searches_the_definition_that_it_began_with(name: str, fingerprint: str) -> None:
    earlier = spaces.as_begun(name, fingerprint)
    chosen, found = space.load(earlier), partial(space.decode, name)  # as an exported model is read
    assert found_in(chosen) == fingerprint != found_in(space.load(name))
    stated = spaces.stated(earlier)
    assert {"dataset", "epochs"} <= set(stated)
    assert {fact: getattr(chosen, fact) for fact in stated} == stated
    for trial in draw(chosen, 20):
        assert chosen.decode(trial.params) == chosen.suggest(trial)
    dataset = table() if "mlp" in name else make_images((3, 32, 32), 2)
    old, exported = (decode(chosen.baseline).model.build(dataset).state_dict() for decode in (chosen.decode, found))
    assert {key: value.shape for key, value in old.items()} == {key: value.shape for key, value in exported.items()}
    assert spaces.as_begun(name, "0" * 16) == name
    with pytest.raises(ValueError, match=rf"unknown space '{name}@9'; available: "):
        space.load(f"{name}@9")


def test_a_model_that_fits_no_definition_is_refused_by_that_of_today() -> None:
    with pytest.raises(ValueError, match="parameter 'depth' is missing"):
        space.decode("image_folder_arch", {"width_0": 8})


@pytest.mark.parametrize(
    ("stated", "epochs", "first"), [(None, 9, 1), (None, 27, 1), (None, 50, 3), (None, 300, 18), (6, 54, 6), (6, 4, 4)]
)
def test_trials_are_first_compared_after_a_share_of_a_full_training(
    stated: int | None, epochs: int, first: int
) -> None:
    found = replace(space.load("digits_arch"), epochs=54, min_epochs=stated)
    assert found.first_rung(epochs) == first
