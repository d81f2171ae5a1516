"""Renders the templates of this package; the only module that imports jinja2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jinja2

from tasks.arcade.plural_forms import pluralize


def render_template(
    template: str,
    values: Mapping[str, Any],
    filters: Mapping[str, Callable[..., Any]],
    finalize: Callable[[Any], Any] | None = None,
) -> str:
    """Render a template; values in HTML are escaped, and undefined values raise.

    Args:
        template: file name in `templates/`.
        values: variables of the template.
        filters: filters in addition to jinja2's own.
        finalize: applied to each value before it is printed.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tasks.arcade.report"),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",)),
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"pluralize": pluralize, **filters}
    return environment.get_template(template).render(**values)
