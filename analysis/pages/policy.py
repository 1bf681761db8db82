"""The content policy of a page: it asks for nothing, and runs only the scripts and styles that its hashes name.

A hash does not cover `style` attributes, of which matplotlib writes thousands. They become classes of one style sheet.
"""

import base64
import hashlib
import html
import re
from collections.abc import Sequence

_LOOKS = re.compile(r'(<style id="looks">)(.*?)(</style>)', re.DOTALL)
_TAG = re.compile(r"<[a-zA-Z][^<>]*>")
_STYLE, _CLASS = re.compile(r'\sstyle="([^"]*)"'), re.compile(r'\sclass="([^"]*)"')
_RULE = re.compile(r"^\.(s\d+)\{(.*)\}$", re.MULTILINE)
_PLAIN = re.compile(r"(?:[\w\s.,:;#%+-]|'[\w\s.-]*'|(?:var|rgba?|url)\([\w#\s.,%-]*\))*")
"""Declarations that cannot end their rule; others, as a figure from another source may have, are left out."""


def content_policy(*, styles: Sequence[str], scripts: Sequence[str], asks: bool = False) -> str:
    """The content of the meta element `Content-Security-Policy` of a page whose sheet of classes is still empty.

    Args:
        styles: the text of each other style sheet.
        scripts: the text of each script.
        asks: let the scripts ask the server that the page is from, and no other.
    """
    looks = " ".join(_hash(sheet) for sheet in (*styles, ""))
    run = " ".join(map(_hash, scripts))
    sources = [f"style-src {looks}", f"script-src {run}", *(["connect-src 'self'"] if asks else [])]
    return "; ".join(["default-src 'none'", "img-src data:", *sources, "base-uri 'none'", "form-action 'none'"])


def sealed(page: str) -> str:
    """The page with a class for each `style` attribute, and the hash of the sheet of classes in its policy.

    A sealed page to which a part was added can be sealed again. A page of an earlier release, which has no such sheet,
    stays as it is.
    """
    found = _LOOKS.search(page)
    if found is None:
        return page
    names = {rule[2]: rule[1] for rule in _RULE.finditer(found[2])}
    page = _TAG.sub(lambda tag: _classed(tag[0], names), page)
    sheet = "\n".join(f".{name}{{{declarations}}}" for declarations, name in names.items())
    page = page.replace(f"{found[1]}{found[2]}{found[3]}", f"{found[1]}{sheet}{found[3]}", 1)
    return page.replace(_hash(found[2]), _hash(sheet), 1)


def _classed(tag: str, names: dict[str, str]) -> str:
    found = _STYLE.search(tag)
    if found is None:
        return tag
    tag = tag[: found.start()] + tag[found.end() :]
    declarations = " ".join(html.unescape(found[1]).split())
    if not declarations or not _PLAIN.fullmatch(declarations):
        return tag
    name = names.setdefault(declarations, f"s{len(names)}")
    if _CLASS.search(tag):
        return _CLASS.sub(lambda old: f' class="{old[1]} {name}"', tag, count=1)
    end = -2 if tag.endswith("/>") else -1
    return f'{tag[:end].rstrip()} class="{name}"{tag[end:]}'


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
