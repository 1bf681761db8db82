"""The templates of pages and documents, `analysis/templates/`, made ready in one way."""

import jinja2


def environment(*, html: bool, strict: bool = True) -> jinja2.Environment:
    """Where templates are got from.

    Args:
        html: escape what is filled in; a document in Markdown holds our own numbers alone.
        strict: a name that is not given is an error; without it, as for results of older releases, it is empty.
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"),
        autoescape=html,
        undefined=jinja2.StrictUndefined if strict else jinja2.Undefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
