"""Values into pages, by the templates beside this file: the only room that knows jinja2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jinja2


def render(
    template: str,
    values: Mapping[str, Any],
    filters: Mapping[str, Callable[..., Any]],
    finalize: Callable[[Any], Any] | None = None,
) -> str:
    """A page; what goes into HTML is escaped, and a value that is not there is an error.

    Args:
        template: a file's name in `templates/`.
        values: what the template speaks of.
        filters: that it uses besides jinja2's own.
        finalize: what every value is passed through before it is printed.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tasks.arcade.report"),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",)),
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(template).render(**values)
