"""What `tinygen verify` says in the end, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from tinygen.cli.console import show, show_json
from tinygen.report.plain import plain

if TYPE_CHECKING:
    from tinygen.manifest import Manifest
    from tinygen.stack_use import StackUse
    from tinygen.verify import PeerReport


class Verdict(NamedTuple):
    """All that was found."""

    reports: Sequence[PeerReport]
    silent: str | None
    remark: str
    stacks: Sequence[Sequence[StackUse]]
    """Of each board: of an invocation, and of what feeds it."""

    @property
    def equal(self) -> bool:
        """No byte differs."""
        return all(found.equal for found in self.reports)

    @property
    def explained(self) -> bool:
        """All that differs has a known cause."""
        return all(found.equal or found.explained for found in self.reports)


def finish(found: Verdict, content: Manifest, as_json: bool) -> None:
    """Show it. Raises where a stack is too deep; exits with 1 for differences without a cause."""
    stacks = [stack for of_board in found.stacks for stack in of_board]
    if as_json:
        for stack in stacks:
            stack.check()
        show_json(_as_json(found))
    else:
        _show(found, content, stacks)
    for stack in stacks:
        stack.check()
    if not found.explained:
        raise click.exceptions.Exit(1)


def _as_json(found: Verdict) -> Mapping[str, object]:
    reports = [plain(each) | {"equal": each.equal, "explained": each.explained} for each in found.reports]
    first = found.stacks[0] if found.stacks else ()
    of_invoke, of_feed = (plain(first[index : index + 1]) for index in (0, 1))
    return {
        "equal": found.equal,
        "explained": found.explained,
        "peers": reports,
        "not_compared": found.silent,
        "remark": found.remark,
        "stack": next(iter(of_invoke), None),
        "feed_stack": next(iter(of_feed), None),
    }


def _show(found: Verdict, content: Manifest, stacks: Sequence[StackUse]) -> None:
    from tinygen.report import tables
    from tinygen.report.stack_text import stack_text

    _show_reports(found.reports, content, found.silent or found.remark)
    if stacks:
        show("\n" + "\n".join(map(stack_text, stacks)))
    show(f"\n{tables.verify_verdict(found.equal, found.explained, content.profile)}")


def _show_reports(reports: Sequence[PeerReport], content: Manifest, silent: str | None) -> None:
    """What was compared, the first differences of each peer and their causes, and why a runtime was not asked."""
    from tinygen.report import tables

    show(tables.verify_table(reports))
    for found in reports:
        for difference in [] if found.explained else found.differences[:3]:
            show(f"\n{found.peer}: {difference}")
        if found.causes:
            show(f"\nWhere the {found.peer} begins to differ, and why:\n")
            show(tables.causes_table(found.causes))
    if content.removed:
        show(f"\n{tables.partial_text(content)}")
    if silent:
        show(f"\n{silent}")
