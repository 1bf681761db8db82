"""The Jinja environment of pages and documents; the templates are in `analysis/templates/`."""

import re
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from search.process.text import counted


def environment(*, html: bool, strict: bool = True) -> jinja2.Environment:
    """An environment that loads the templates, with the filter `unbroken` and the function `counted`.

    Args:
        html: escape what is filled in, for a page; Markdown gets only our own texts and numbers.
        strict: a missing name is an error; otherwise it is empty, as results of older releases need it.
    """
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"),
        autoescape=html,
        undefined=jinja2.StrictUndefined if strict else jinja2.Undefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["unbroken"] = unbroken
    templates.filters["names"] = names
    templates.globals["counted"] = counted
    return templates


def source(name: str) -> str:
    """The text of a script or style sheet, as it is."""
    return (Path(__file__).parents[1] / "templates" / name).read_text(encoding="utf-8")


def unbroken(text: str) -> Markup:
    """The text as HTML in which no line ends inside an interval or before a unit; names may break after `_`."""
    kept = re.sub(r"\[[^\]]*\]", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), str(text))
    kept = re.sub(r"(?<=\d) (?=%|s\b|min\b|h\b)", "\N{NO-BREAK SPACE}", kept)
    return Markup(str(escape(kept)).replace("_", "_<wbr>"))


def names(text: str) -> Markup:
    """A cell as HTML; a name such as `sgd_weight_decay` may break after `_`.

    Everything else stays in one piece: `analysis.publish` has to find paths and secrets in the page.
    """
    return unbroken(text) if re.fullmatch(r"[A-Za-z]{1,16}(_[A-Za-z0-9]{1,16})+", str(text)) else Markup(escape(text))
