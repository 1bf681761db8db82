"""Checks of the options that name places: --study-url, --storage and --address."""

import re
from urllib.parse import urlsplit

from search.process.secrets import find_secret, redact_url

_DATABASES = ("sqlite", "postgresql", "mysql", "mariadb", "oracle", "mssql")
_ADDRESS = re.compile(r"auto|[^\s/:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


def check_address(address: str) -> None:
    """Raise ValueError unless --address is auto or HOST:PORT."""
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"--address must be auto or HOST:PORT, got {address[:80]!r}")


def check_url(url: str) -> None:
    """Raise ValueError unless --study-url is the URL of a database, without a password."""
    if found := find_secret(url):
        raise ValueError(
            f"--study-url must not contain a password or key, got {found}: it is stored and shown; use PGPASSWORD,"
            " ~/.pgpass or a service file (postgresql+psycopg://?service=NAME) instead"
        )
    if url.partition("://")[0].split("+")[0] not in _DATABASES:
        shown = redact_url(url)[:80]
        raise ValueError(f"--study-url must be a database URL such as postgresql+psycopg://host/name, got {shown!r}")


def check_storage(uri: str) -> None:
    """Raise ValueError unless --storage is a URI without credentials."""
    parts = urlsplit(uri)
    found = "one before the @" if "@" in parts.netloc else find_secret(uri)
    if found:
        raise ValueError(
            f"--storage must not contain credentials, got {found}: it is stored and shown; give the nodes a role,"
            " or use ~/.aws instead"
        )
    if not (re.fullmatch(r"[a-z][a-z0-9+.-]*", parts.scheme) and (parts.netloc or parts.path.strip("/"))):
        raise ValueError(f"--storage must be a URI such as s3://bucket/searches or file:///shared, got {uri[:80]!r}")
