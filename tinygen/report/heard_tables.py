"""What a board heard, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from tinygen.listening.detector import Word
from tinygen.report.tables import plain_table
from tinygen.results import HeardResult


def heard_table(results: Sequence[HeardResult]) -> Table:
    """One row for each result: when it was due, and its largest element."""
    table = plain_table("at", "largest", "value", right=("at", "largest", "value"))
    for heard in results:
        best, value = heard.result.best
        table.add_row(f"{heard.seconds:.3f} s", str(best), f"{value:.4g}")
    return table


def words_table(results: Sequence[HeardResult], words: Sequence[Word]) -> Table:
    """One row for each word that was heard: when, and the element of its output."""
    table = plain_table("at", "word", "value", right=("at", "value"))
    values = {word.label: word.output for word in words}
    for heard in results:
        if heard.word is not None:
            value = next(iter(heard.result.real.values()))[values[heard.word]]
            table.add_row(f"{heard.seconds:.3f} s", heard.word, f"{value:.4g}")
    return table
