"""Text from templates: the only module that imports jinja2. It computes nothing and touches no output folder."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2

from tinygen.resources import resource


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource("templates")),
        undefined=jinja2.StrictUndefined,
        line_statement_prefix="%%",
        line_comment_prefix="%#",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def render(template: str, /, **values: object) -> str:
    """The text of ``templates/<template>`` with `values`; an undefined name is an error, never an empty string."""
    return _environment().get_template(template).render(**values)


def macro(template: str, name: str) -> Any:
    """A macro of a template, callable from Python."""
    return getattr(_environment().get_template(template).module, name)
