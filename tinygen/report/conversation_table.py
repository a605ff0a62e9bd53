"""What was said in a conversation and what a board heard of it, for the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from tinygen.report.answers import footnote
from tinygen.report.tables import plain_table
from tinygen.results import HeardResult
from tinygen.word_demonstration import Conversation, Spoken


def conversation_table(shown: Conversation) -> Table:
    """One row for each word that was said, and for what else was heard."""
    table = plain_table("said", "from", "to", "board hears", "reference hears", "bytes", right=("from", "to"))
    for spoken, moment in shown.answers:
        row = ["", "", ""] if spoken is None else [spoken.said, f"{spoken.start:.2f}", f"{spoken.end:.2f} s"]
        if moment is None:
            table.add_row(*row, Text("-", "yellow" if _is_word(spoken, shown) else ""), "-", "")
            continue
        is_right = spoken is not None and moment.word == spoken.said
        board = Text(_heard(moment.board), "" if is_right else "yellow")
        verdict = Text("equal", "green") if moment.equal else Text("DIFFER", "bold red")
        table.add_row(*row, board, _heard(moment.reference), verdict)
    return table


def conversation_verdict(shown: Conversation) -> str:
    """One paragraph that a person understands."""
    total = len(shown.moments)
    known = [spoken for spoken in shown.spoken if _is_word(spoken, shown)]
    right = sum(
        spoken is not None and moment is not None and moment.word == spoken.said for spoken, moment in shown.answers
    )
    lines = [footnote(shown.stack_bytes, shown.hello, f"{shown.name}_feed"), ""]
    if shown.success:
        lines.append(
            f"SUCCESS: {shown.board} answered {shown.seconds:.1f} s of samples with exactly the reference's bytes, "
            f"words and times: {total:,} results."
        )
        lines.append(
            f"{right} of the {len(known)} words that it knows are recognised; it knows {', '.join(shown.words)}."
        )
    else:
        equal = sum(moment.equal for moment in shown.moments)
        lines.append(f"FAILURE: {equal:,} of {total:,} results equal the reference.")
    lines.append(f"Project: {shown.out} (read {shown.out}/lib/{shown.name}/src/{shown.name}_audio.h).")
    if shown.picture is not None:
        lines.append(f"Drawn in {shown.picture}.")
    return "\n".join(lines)


def _is_word(spoken: Spoken | None, shown: Conversation) -> bool:
    return spoken is not None and spoken.said in shown.words


def _heard(heard: HeardResult | None) -> str:
    if heard is None:
        return "no result"
    return f"{heard.word or 'no word'} at {heard.seconds:.2f} s"
