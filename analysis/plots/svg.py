"""Figures as parts of a page: SVG with ids of its own, in the colours of the page."""

import re
from xml.etree import ElementTree

from markupsafe import Markup, escape

from analysis.plots import style

_MARKS = {style.INK: "--ink", style.FAINT: "--line", style.PAPER: "--paper"}
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_LINK = f"{{{_XLINK}}}href"
_STYLE, _METADATA = f"{{{_SVG}}}style", f"{{{_SVG}}}metadata"
_ELEMENTS = {
    f"{{{_SVG}}}{name}"
    for name in ("svg", "g", "defs", "path", "use", "text", "tspan", "image", "clipPath", "rect", "circle", "style")
}
_LAYOUT = "*{stroke-linejoin: round; stroke-linecap: butt}"
"""The only style sheet that matplotlib writes."""


def inline(svg: str, name: str, alt: str) -> Markup:
    """An SVG file's root element, ready to stand in a page: own ids, page colours, a text for screen readers.

    The markup is matplotlib's, which escapes the texts in it.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", body, flags=re.S)  # `_LAYOUT` is the page's
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    for color, variable in _MARKS.items():  # the colour itself stands in where a notebook shows the figure
        body = re.sub(color, f"var({variable}, {color})", body, flags=re.IGNORECASE)
    width = re.findall(r'width="([\d.]+)pt"', body)[0]
    opening = f'<svg role="img" aria-label="{escape(alt)}" style="max-width:{width}pt"'
    body = body.replace("<svg", opening, 1)
    body = re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"', "", body, count=2)
    return Markup(body)


def checked(svg: str) -> str | None:
    """The SVG of a file, serialised again, if nothing in it can act on the page; else None.

    A run folder may come from others, and the content of a page can run scripts.
    """
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError:
        return None
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag == _METADATA]:
            parent.remove(child)
    if not all(map(_harmless, root.iter())):
        return None
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _harmless(element: ElementTree.Element) -> bool:
    if element.tag not in _ELEMENTS or (element.tag == _STYLE and (element.text or "").strip() != _LAYOUT):
        return False
    return all(_harmless_attribute(name, value) for name, value in element.attrib.items())


def _harmless_attribute(name: str, value: str) -> bool:
    if name in (_LINK, "href"):
        return value.startswith(("#", "data:image/png;base64,"))
    if name.startswith("on") or ("{" in name and name != _LINK):
        return False
    return all(place.startswith("#") for place in re.findall(r"url\(\s*['\"]?(.)", value))
