"""The content policy of a page: what may run in it, and what its styles may contain."""

import base64
import hashlib
import re

import pytest

from analysis.pages.policy import content_policy, sealed

STYLE, SCRIPT = "p { color: red; }", "f();"


def page(body: str) -> str:
    policy = content_policy(styles=[STYLE], scripts=[SCRIPT])
    return (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><style>{STYLE}</style>'
        f'<style id="looks"></style>{body}<script>{SCRIPT}</script>'
    )


def looks(text: str) -> str:
    found = re.search(r'<style id="looks">(.*?)</style>', text, re.S)
    assert found
    return found[1]


def test_every_sheet_and_script_is_in_the_policy_by_its_hash_and_nothing_else():
    text = sealed(page('<path style="fill: #e69f00" d="M0 0"/><p style="color: #fff">a</p>'))
    policy = re.search(r'content="([^"]*)"', text)
    assert policy
    found = re.findall(r"'sha256-([^']*)'", policy[1])
    named = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in (STYLE, looks(text), SCRIPT)]
    assert found == named
    assert "unsafe" not in policy[1]
    assert policy[1].startswith("default-src 'none'")


def test_style_attributes_become_classes_and_equal_ones_the_same():
    font = "font: 9px 'DejaVu Sans', serif"
    body = f'<path style="fill: #e69f00" d="M0 0"/><g class="a" style="fill: #e69f00"><text style="{font}">x</text></g>'
    text = sealed(page(body))
    assert 'style="' not in text
    assert '<path d="M0 0" class="s0"/>' in text
    assert '<g class="a s0">' in text
    assert looks(text) == f".s0{{fill: #e69f00}}\n.s1{{{font}}}"


def test_a_sealed_page_to_which_a_part_was_added_can_be_sealed_again():
    once = sealed(page('<p style="color: #111">a</p>'))
    assert sealed(once) == once
    more = once.replace("<script>", '<p style="color: #222">b</p><p style="color: #111">c</p><script>')
    assert sealed(more) == sealed(
        page('<p style="color: #111">a</p><p style="color: #222">b</p><p style="color: #111">c</p>')
    )


def test_a_page_of_an_earlier_release_stays_as_it_is():
    old = '<meta content="style-src \'unsafe-inline\'"><p style="color: red">a</p>'
    assert sealed(old) == old


@pytest.mark.parametrize(
    "evil",
    [
        "} body { display: none",
        "fill: red; } @import 'x'; a {",
        "fill: &quot;open",
        "fill: url(open",
        "fill: 'open",
        "/* open",
        "fill: red</style><script>f()</script>",
        "width: \\7d body",
    ],
)
def test_a_style_that_reaches_beyond_its_rule_is_left_out(evil: str):
    text = sealed(
        page(
            f'<p style="{evil}">a</p>'.replace("<script>", "&lt;script&gt;")
            .replace("</style>", "&lt;/style&gt;")
            .replace("</script>", "")
        )
    )
    assert looks(text) == ""
    assert "<p>a</p>" in text


def test_text_that_looks_like_a_style_stays_as_it_is():
    body = '<p>a style="color: red" of a name</p>'
    assert body in sealed(page(body))
