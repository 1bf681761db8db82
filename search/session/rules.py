"""Rules of single options, each checked before anything slow is imported."""

import re
from urllib.parse import urlsplit

from search.process.secrets import find_secret, redact_url

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
