"""The templates of pages and documents, `analysis/templates/`, made ready in one way."""

import re
from pathlib import Path

import jinja2
from markupsafe import Markup, escape


def environment(*, html: bool, strict: bool = True) -> jinja2.Environment:
    """Where templates are got from.

    Args:
        html: escape what is filled in; a document in Markdown holds our own numbers alone.
        strict: a name that is not given is an error; without it, as for results of older releases, it is empty.
    """
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"),
        autoescape=html,
        undefined=jinja2.StrictUndefined if strict else jinja2.Undefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["unbroken"] = unbroken
    return templates


def source(name: str) -> str:
    """The text of a script or style sheet, as it is."""
    return (Path(__file__).parents[1] / "templates" / name).read_text(encoding="utf-8")


def unbroken(text: str) -> Markup:
    """The text as HTML in which no line ends inside an interval or before a unit; names may break after `_`."""
    kept = re.sub(r"\[[^\]]*\]", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), str(text))
    kept = re.sub(r"(?<=\d) (?=%|s\b|min\b|h\b)", "\N{NO-BREAK SPACE}", kept)
    return Markup(str(escape(kept)).replace("_", "_<wbr>"))
