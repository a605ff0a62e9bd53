"""The text of a kernel's function in assembly, for a core."""

from __future__ import annotations

from tinygen import dual_issue
from tinygen.emit import render
from tinygen.kernel import Body, Kernel, Site
from tinygen.target import DUAL_ISSUE


def function_text(kernel: Kernel, body: Body, site: Site) -> str:
    """What the kernel's template prints, arranged for the core where that issues two instructions in a cycle."""
    text = render(kernel.template, **body.values).strip("\n")
    return dual_issue.arranged(text, may_grow=site.objective != "size") if DUAL_ISSUE in site.features else text
