"""Rules of single options, each checked before anything slow is imported."""

import re
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from search.process.secrets import find_secret, redact_url
from trainables.data.architectures import check_architecture, locate_backbone
from trainables.data.names import split_names
from trainables.data.options import Kind

PRETRAINED = "image_folder_backbone"
"""The space that --backbone chooses in place of image_folder_arch."""
MAX_TRIALS, MAX_EPOCHS, MAX_SEED, MAX_WORKERS = 1_000_000, 100_000, 2**32 - 1, 1024
MAX_GAIN = 10**9
MAX_REPEATS = 100
_ADDRESS = re.compile(r"auto|[^\s/:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")
_DATABASES = ("sqlite", "postgresql", "mysql", "mariadb", "oracle", "mssql")


def check_address(address: str) -> None:
    """Raise ValueError unless a Ray cluster can be there."""
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"--address must be auto or HOST:PORT, got {address[:80]!r}")


def check_target(target: str | None, **about: str | None) -> None:
    """Raise ValueError at an option about a table that has no target, by the name of the option."""
    given = next((name for name, value in about.items() if value), None)
    if target is None and given is not None:
        raise ValueError(f"--{given} is for your own table and needs --target, the column to predict")


def check_url(url: str) -> None:
    """Raise ValueError unless the study can be stored there, or if the URL contains a secret."""
    if found := find_secret(url):
        raise ValueError(
            f"--study-url must not contain a password or key, got {found}: it is stored and shown; use PGPASSWORD,"
            " ~/.pgpass or a service file (postgresql+psycopg://?service=NAME) instead"
        )
    if url.partition("://")[0].split("+")[0] not in _DATABASES:
        shown = redact_url(url)[:80]
        raise ValueError(f"--study-url must be a database URL such as postgresql+psycopg://host/name, got {shown!r}")


def check_storage(uri: str) -> None:
    """Raise ValueError unless this is the URI of a store, without credentials."""
    parts = urlsplit(uri)
    found = "one before the @" if "@" in parts.netloc else find_secret(uri)
    if found:
        raise ValueError(
            f"--storage must not contain credentials, got {found}: it is stored and shown; give the nodes a role,"
            " or use ~/.aws instead"
        )
    if not (re.fullmatch(r"[a-z][a-z0-9+.-]*", parts.scheme) and (parts.netloc or parts.path.strip("/"))):
        raise ValueError(f"--storage must be a URI such as s3://bucket/searches or file:///shared, got {uri[:80]!r}")


def check_range(option: str, value: int | None, low: int, high: int) -> None:
    """Raise ValueError at a number outside of these bounds."""
    if value is not None and not low <= value <= high:
        raise ValueError(f"{option} must lie in [{low}, {high}], got {value}")


def check_gpus(gpus: float | None) -> None:
    """Raise ValueError unless this is a part of a GPU, or a whole number of them."""
    if gpus is not None and not (0 <= gpus <= 1 or (1 < gpus <= MAX_WORKERS and gpus == int(gpus))):
        raise ValueError(
            f"--gpus-per-trial must lie in [0, 1] or be a whole number of at most {MAX_WORKERS}, got {gpus:g}: a trial "
            "runs on a part of a GPU, or on whole ones"
        )


def check_numbers(options: Any) -> None:
    """Raise ValueError at the first number of the options of `search.run` that is out of its range."""
    check_range("--trials", options.trials, 1, MAX_TRIALS)
    check_range("--min-epochs", options.min_epochs, 1, MAX_EPOCHS)
    check_range("--max-epochs", options.max_epochs, 1, MAX_EPOCHS)
    check_range("--reduction-factor", options.reduction_factor, 2, 100)
    check_range("--keep-best", options.keep_best, 1, MAX_TRIALS)
    check_range("--repeats", options.repeats, 1, MAX_REPEATS)
    check_repeats(options.repeats, asks=bool(options.question), weighs=bool(options.objective))
    check_range("--seed", options.seed, 0, MAX_SEED)
    check_range("--train-size", options.train_size, 2, 10**9)
    parse_count("--max-weights", options.max_weights)
    parse_count("--max-macs", options.max_macs)
    check_range("--concurrent", options.concurrent, 1, 10_000)
    check_range("--cpus-per-trial", options.cpus_per_trial, 1, 1024)
    check_range("--max-failures", options.max_failures, 0, 1000)
    if options.time_budget is not None and not 0 < options.time_budget < 10**7:
        raise ValueError(f"--time-budget must be a positive number of minutes, got {options.time_budget:g}")
    if options.until_gain is not None and not 0 <= options.until_gain <= MAX_GAIN:
        raise ValueError(f"--until-gain must be a number from 0 to {MAX_GAIN:g}, got {options.until_gain:g}")
    check_until_gain(options.until_gain, sampler=options.sampler, asks=bool(options.question))
    if not 0 < options.max_wait < 10**7:
        raise ValueError(f"--max-wait must be a positive number of minutes, got {options.max_wait:g}")
    if options.trial_timeout is not None and not 0 < options.trial_timeout < 10**7:
        raise ValueError(f"--trial-timeout must be a positive number of seconds, got {options.trial_timeout:g}")
    check_gpus(options.gpus_per_trial)
    check_range("--workers-per-trial", options.workers_per_trial, 1, MAX_WORKERS)
    if options.max_epochs is not None and (options.min_epochs or 1) > options.max_epochs:
        raise ValueError(f"--min-epochs must be at most --max-epochs {options.max_epochs}, got {options.min_epochs}")


def check_until_gain(gain: float | None, *, sampler: str, asks: bool, weighs: bool = False) -> None:
    """Raise ValueError unless the sampler can estimate the gain, and the best value is what is searched."""
    if not gain:
        return
    if sampler != "curves":
        raise ValueError(f"--until-gain needs --sampler curves, whose model estimates the gain, got {sampler}")
    if asks:
        raise ValueError("--until-gain is for one best value, and --question compares several; leave one of them out")
    if weighs:
        raise ValueError("--until-gain is for one objective, and this search has a second one; leave --until-gain out")


def check_repeats(repeats: int, *, asks: bool, weighs: bool) -> None:
    """Raise ValueError unless one best configuration is searched, which can be trained again."""
    if repeats > 1 and asks:
        raise ValueError("--repeats is for one best value, and --question compares several; leave one of them out")
    if repeats > 1 and weighs:
        raise ValueError("--repeats is for one objective, and this search has a second one; leave --repeats out")


def check_backbone(text: str) -> None:
    """Raise ValueError unless this names a file, and an architecture that can be a backbone if it names one."""
    file = locate_backbone(text)
    if file.architecture:
        check_architecture(file.architecture)
    if not Path(file.path).is_file():
        raise ValueError(f"--backbone: there is no file {file.path[:200]!r}; give the weights of a pretrained network")


def check_min_epochs(min_epochs: int | None, epochs: int) -> None:
    """Raise ValueError unless the first rung lies within the epochs of a full trial."""
    if min_epochs is not None and min_epochs > epochs:
        raise ValueError(f"--min-epochs must be at most the {epochs} epochs of a full trial, got {min_epochs}")


def parse_count(option: str, text: str | None) -> int | None:
    """The number in `2M`, `300k` or `1500000`; None for None."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,12}(?:\.\d+)?)([kMG]?)", text)
    count = round(float(match[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[match[2]]) if match else 0
    if count < 1:
        raise ValueError(f"{option} must be a positive number such as 300k, 2M or 1500000, got {text[:80]!r}")
    return count


def parse_types(text: str | None) -> dict[str, Kind]:
    """What `age=number,zip=category,"weight, kg=number"` says of each column."""
    kinds: dict[str, Kind] = {}
    for entry in split_names(text or ""):
        name, _, kind = (part.strip() for part in entry.rpartition("="))
        if kind not in get_args(Kind) or not name:
            *others, last = get_args(Kind)
            kinds_known = f"{', '.join(others)} or {last}"
            raise ValueError(
                f"--types must give a column the type {kinds_known}, as in age=number,zip=category, got {entry[:80]!r}"
            )
        if name in kinds:
            raise ValueError(f"--types must give each column one type, got {name[:80]!r} twice")
        kinds[name] = kind  # pyright: ignore[reportArgumentType]
    return kinds
