"""Finds and hides passwords, tokens and keys in URLs and commands, because others read what a run stores and prints."""

import re
from collections.abc import Iterator
from urllib.parse import quote, unquote_plus, urlsplit

HIDDEN = "***"
"""Stands for what was removed."""
_ENDINGS = re.compile(
    r"(password|passwd|passphrase|passcode|pwd|secret|token|credential|signature|authorization"
    r"|(user|db|my|auth|root|admin|proxy|client|cert|key|ssl|ldap)pass"
    r"|(api|app|access|secret|private|account|auth|shared|storage|master|signing|encryption|license)key)$"
)
_WORDS = frozenset("pass pw key cred sas sig jwt psk bearer auth".split())
"""Words that name a credential only as a whole word: `key` does, `keyspace` and `monkey` do not."""
_DESCRIBED = frozenset(
    "file path dir kind type method mode name provider length size count timeout lifetime ttl expiry version format"
    " encoding plugin algorithm space store source mechanism".split()
)
"""Last words of names that describe a credential or its place, such as `token_path`."""
_SWITCHES = frozenset("max min num use enable disable require allow check verify no".split())
_HARMLESS = frozenset({"sslkey", "ssl_key", "passfile", "partition_key", "primary_key", "foreign_key", "sort_key"})
_USERINFO = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*://)(?P<user>[^:/@?#\s]*)"
    r"(?P<password>:(?!\d{1,5}/[^@]*\?)[^@]*(?:@[^/?#@\s]*(?=@))*)?@"
)
"""As SQLAlchemy reads it: a password may hold a slash or a question mark. A port before a path is no password."""
_BARE_USERINFO = re.compile(r"(?P<user>[^\s:/@=&;,]*):(?P<password>[^\s/@,]+)(?=@)")
"""User and password in a value that is a host without a scheme."""
_PAIR = re.compile(r"([^\W\d_][^=;&]*?)\s*=\s*([^;&]*)")
_OPTION = re.compile(
    r"(--(?:study[-_]url|storage)(?:=|\s+))(?P<value>(?=['\"])(?:'[^']*'|\"[^\"]*\")+|.+?(?=\s--[a-z]|$))"
)
"""Older releases stored commands without quotes: a value with a blank ends at the next option."""
_URL = re.compile(r"[A-Za-z][\w+.-]{0,60}://[^\s'\"<>`\\]+")
"""The length of a scheme is bounded for speed: an embedded picture is one word of a hundred thousand letters."""


def is_secret(name: str) -> bool:
    """Whether a parameter by this name holds a credential.

    A name with non-ASCII characters counts as one: no driver knows such names, and it may imitate another.

    >>> [name for name in ("sslpassword", "AccessKeyId", "passfile", "keyspace", "monkey") if is_secret(name)]
    ['sslpassword', 'AccessKeyId']
    """
    name = _decoded(name).strip()
    if not name.isascii():
        return True
    if name.lower() in _HARMLESS:
        return False
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    words = [re.sub(r"\d+$", "", word) for word in re.findall(r"[a-z0-9]+", spaced.lower())]
    words = [word.removesuffix("s") if word not in ("pass", "sas") else word for word in words if word]
    if not words or words[-1] in _DESCRIBED or words[0] in _SWITCHES:
        return False
    return any(word in _WORDS or _ENDINGS.search(word) for word in words) or bool(_ENDINGS.search("".join(words)))


def find_secret(url: str) -> str | None:
    """The place of a credential in this URL, in words; None if there is none."""
    if (found := _USERINFO.match(url)) and found["password"]:
        return "one before the @"
    for name, value in _parameters(url):
        if value and is_secret(name):
            return "one in the query"
        if _hidden_value(value) != value:
            return f"one in the value of {_decoded(name)!r}"
    return None


def redact_url(text: str) -> str:
    """The URL with `***` in place of every credential; anything else as it is.

    >>> redact_url("postgresql://me:pw@host/db?sslmode=require&sslpassword=x")
    'postgresql://me:***@host/db?sslmode=require&sslpassword=***'
    """
    text = _USERINFO.sub(_without_password, text, count=1)
    head, mark, tail = _split(text)
    if not mark:
        return text if "://" in text else re.sub(r"(?<=:)[^:@/\s]+(?=@)", HIDDEN, text)
    parts = re.split(r"([&;#?])", tail)
    return head + mark + "".join(_hidden_part(part) for part in parts)


def redact_command(text: str) -> str:
    """The command with the credentials of its URLs replaced; anything else as it is.

    >>> redact_command("search.run --study-url=mysql://host/db?password=pw --trials 3")
    'search.run --study-url=mysql://host/db?password=*** --trials 3'
    """
    text = _OPTION.sub(lambda found: found[1] + _redact_quoted(found["value"]), text)
    return redact_text(text)


def redact_text(text: str) -> str:
    """Any text, such as a page or the message of a library, with the credentials of its URLs replaced."""
    return _URL.sub(lambda found: redact_url(found[0]), text)


def _redact_quoted(value: str) -> str:
    mark = value[0] if value[0] in "'\"" and value[-1] == value[0] and len(value) > 1 else ""
    return mark + redact_url(value.removeprefix(mark).removesuffix(mark) if mark else value) + mark


def _without_password(found: re.Match[str]) -> str:
    return f"{found['scheme']}{found['user']}{':' + HIDDEN if found['password'] else ''}@"


def _split(url: str) -> tuple[str, str, str]:
    """What precedes the parameters, the mark that begins them, and the parameters."""
    found = re.search(r"[?#;]", url)
    return (url, "", "") if found is None else (url[: found.start()], found[0], url[found.end() :])


def _parameters(url: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"[&;#?]", _split(url)[2]):
        name, _, value = _pair(part)
        yield name, value


def _pair(part: str) -> tuple[str, str, str]:
    """Name, separator and value; for a credential the separator may also be an encoded `=` or a colon."""
    name, equals, value = part.partition("=")
    if not equals:
        found = re.fullmatch(r"([^:=]+)([:=])(.+)", _decoded(part), re.DOTALL)
        if found and is_secret(found[1]):
            return found[1], found[2], found[3]
    return name, equals, value


def _hidden_part(part: str) -> str:
    name, equals, value = _pair(part)
    if not equals:
        return part
    return f"{name}{equals}{HIDDEN if is_secret(name) and value else _hidden_value(value)}"


def _hidden_value(value: str) -> str:
    """A value that is itself a URL, or a list of parameters such as an ODBC string, without its credentials."""
    plain = _decoded(value)
    hidden = _URL.sub(lambda found: redact_url(_anonymous(found[0])), plain)
    hidden = _BARE_USERINFO.sub(rf"\g<user>:{HIDDEN}", hidden) if "://" not in hidden else hidden
    hidden = _PAIR.sub(lambda pair: f"{pair[1]}={HIDDEN}" if is_secret(pair[1]) and pair[2] else pair[0], hidden)
    return value if hidden == plain else quote(hidden, safe="*")


def _anonymous(url: str) -> str:
    """The URL with its user hidden, since a token may be given as the user."""
    parts = urlsplit(url)
    return url.replace(parts.netloc, f"{HIDDEN}@{parts.netloc.rpartition('@')[2]}", 1) if "@" in parts.netloc else url


def _decoded(text: str) -> str:
    """The text without percent-encoding, also if it was encoded several times."""
    for _ in range(5):
        plain = unquote_plus(text)
        if plain == text:
            break
        text = plain
    return text
