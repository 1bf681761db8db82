"""Rules of single options, each checked before anything slow is imported."""

import re
from typing import get_args
from urllib.parse import urlsplit

from search.process.secrets import find_secret, redact_url
from trainables.data.names import split_names
from trainables.data.options import Kind

_DATABASES = ("sqlite", "postgresql", "mysql", "mariadb", "oracle", "mssql")


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
            raise ValueError(f"--types must be a list such as age=number,zip=category, got {entry[:80]!r}")
        if name in kinds:
            raise ValueError(f"--types must give each column one type, got {name[:80]!r} twice")
        kinds[name] = kind  # pyright: ignore[reportArgumentType]
    return kinds
