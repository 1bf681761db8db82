"""Every private part of another package that we use: it is there, takes what we give it, and no other is used.

When a test fails after an upgrade, its row says who needs the part and what to do. `make upgrade-check` runs this file,
and then the whole suite, against the newest releases.
"""

import ast
import importlib
import inspect
import re
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from search.storage.kinds import STEPS
from tests.newest import locked
from tests.searching import QUICK_FILES, ROOT

SOURCES = sorted(
    p for package in ("search", "spaces", "trainables", "analysis") for p in (ROOT / package).rglob("*.py")
)
PRIVATE_MODULE = re.compile(r"(optuna|ray|torch|sqlalchemy|tyro|matplotlib|sklearn|scipy|pandas)\b.*\._\w+")


@dataclass(frozen=True)
class Use:
    """One private part."""

    module: str
    name: str
    """Dotted inside the module."""
    takes: tuple[str, ...] | None
    """Names of its parameters, `self` left out; None for what is not called."""
    otherwise: str
    """What happens without it, and what to do."""


TPE = "`--sampler tpe` is then Optuna's own, four times slower: adapt the quick TPE, or delete it if Optuna is as fast"
TABLES = "studies are written and read by Optuna's own storage, slower: adapt the quick storage to the new tables"
SERVERS = "Ray starts three more processes for each search: find their new names in ray._private.node.Node"
USES = (
    Use("optuna.samplers._tpe.parzen_estimator", "_ParzenEstimator", None, TPE),
    Use("optuna.samplers._tpe.probability_distributions", "_BatchedCategoricalDistributions", None, TPE),
    Use("optuna.samplers._tpe.probability_distributions", "_BatchedDistributions", None, TPE),
    Use("optuna.samplers._tpe.probability_distributions", "_MixtureOfProductDistribution", None, TPE),
    Use("optuna.samplers._tpe.sampler", "_split_trials", ("study", "trials", "n_below"), TPE),
    Use("optuna.samplers._tpe.sampler", "default_gamma", ("x",), TPE),
    Use("optuna.search_space.group_decomposed", "_SearchSpaceGroup", None, TPE),
    Use("optuna.samplers", "TPESampler._sample", ("study", "trial", "search_space"), TPE),
    Use("optuna.samplers", "TPESampler._get_params", ("trial", "study"), TPE),
    Use("optuna.samplers", "TPESampler._compute_acquisition_func", ("samples", "mpe_below", "mpe_above"), TPE),
    Use("optuna.samplers", "TPESampler._compare", ("samples", "acquisition_func_vals"), TPE),
    Use("optuna.study", "Study._get_trials", ("deepcopy", "states", "use_cache"), TPE),
    Use("optuna.storages._rdb", "models", None, TABLES),
    *(Use("optuna.storages", f"RDBStorage.{name}", takes, TABLES) for name, takes in STEPS.items()),
    Use("optuna.study", "Study._is_multi_objective", (), "importances fail: give them a real study"),
    Use(
        "ray._private.worker", "_worker_logs_enabled", None, "Ray prints pages about each lost worker: find the switch"
    ),
    Use("ray._private.worker", "_global_node", None, "a lost raylet of a cluster goes unnoticed: watch the head alone"),
    Use(
        "ray._private.state",
        "state.get_draining_nodes",
        (),
        "the warning of a node goes unnoticed and its running epochs are lost: find how Ray names draining nodes",
    ),
    Use("ray._private.node", "Node.start_monitor", None, SERVERS),
    Use("ray._private.node", "Node.start_api_server", None, SERVERS),
    Use("ray._private.node", "Node.start_log_monitor", None, SERVERS),
    Use(
        "ray._private.services",
        "ConsolePopen",
        None,
        "`timeout` and a closed terminal end Ray's servers before the search has saved: find how Ray starts them",
    ),
    Use(
        "ray._private.services",
        "get_node",
        ("gcs_address", "node_id"),
        "Ray gives its start 30 seconds: drop the wrapper, the second try remains",
    ),
    Use("ray._private.services", "canonicalize_bootstrap_address", None, "`--address auto` fails: read RAY_ADDRESS"),
    Use(
        "ray.tune.execution.tune_controller",
        "TuneController._maybe_cache_trial_actor",
        ("trial",),
        "a node that was warned gets further epochs until it is killed: find where Tune keeps idle workers",
    ),
    Use("ray.tune.execution.class_cache", "ENV_VARS_TO_PROPAGATE", None, "AWS keys reach Ray's logs: do not release"),
    Use("ray.tune.execution.class_cache", "DEFAULT_ENV_VARS", None, "AWS keys reach Ray's logs: do not release"),
    Use("ray.tune.trainable.trainable", "disable_ipython", (), "workers start more slowly: drop the replacement"),
    Use("torch", "_foreach_lerp_", None, "no moving average of the weights: use torch.optim.swa_utils"),
    Use("torch", "_dynamo", None, "workers import torch's compiler, a second each: drop the stand-in"),
)


def found(use: Use) -> Any:
    """The part itself."""
    part: Any = importlib.import_module(use.module)
    for name in use.name.split("."):
        # a module that nobody has imported yet is no attribute of its package
        is_module = inspect.ismodule(part) and not hasattr(part, name)
        part = importlib.import_module(f"{part.__name__}.{name}") if is_module else getattr(part, name)
    return part


def release(use: Use) -> str:
    """The package of a part and the release of it that is installed."""
    package = use.module.partition(".")[0]
    return f"{package} {metadata.version(package)}"


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.module}.{use.name}")
def test_a_private_part_that_we_use_is_there_and_takes_what_we_give_it(use: Use):
    try:
        part = found(use)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{release(use)}: {use.module}.{use.name} is gone ({error}). {use.otherwise}", pytrace=False)
    if use.takes:
        takes = tuple(name for name in inspect.signature(part).parameters if name != "self")
        if takes[: len(use.takes)] != use.takes:
            says = f"{release(use)}: {use.module}.{use.name} takes ({', '.join(takes)})"
            pytest.fail(f"{says}, no longer ({', '.join(use.takes)}). {use.otherwise}", pytrace=False)


def private_imports(path: Path) -> set[tuple[str, str]]:
    """(module, name) of all that a file imports from private modules of other packages, or by a private name."""
    known = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and re.match(r"(optuna|ray|torch|sqlalchemy)\b", node.module)
        ):
            for alias in node.names:
                if PRIVATE_MODULE.match(f"{node.module}.{alias.name}"):
                    known.add((node.module, alias.name))
    return known


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_other_private_part_is_imported(path: Path):
    named = {(use.module, use.name.split(".")[0]) for use in USES} | {
        tuple(use.module.rsplit(".", 1)) for use in USES if "." in use.module
    }
    assert private_imports(path) <= named, "name it in USES, with what happens without it"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_plain_mode_reaches_every_private_part(path: Path):
    if private_imports(path) and str(path.relative_to(ROOT)) not in QUICK_FILES:
        assert "is_plain()" in path.read_text(), "without RUNGWISE_PLAIN alone may it be imported"


def test_every_package_with_private_parts_in_use_has_an_upper_end():
    project = (ROOT / "pyproject.toml").read_text()
    for package in ("optuna", r"ray\[tune\]", "torch", "torchvision", "sqlalchemy", "tyro"):
        assert re.search(rf'"{package}>=[\d.]+,<[\d.]+"', project), f"{package} has no upper end"


def test_the_upgrade_check_compares_with_what_the_lock_installs_on_this_machine():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert any(line.startswith("colorama==") and "sys_platform == 'win32'" in line for line in lines)
    assert ("colorama" in locked()) == (sys.platform == "win32")
    assert all(any(line.startswith(f"{name}=={release} ") for line in lines) for name, release in locked().items())
