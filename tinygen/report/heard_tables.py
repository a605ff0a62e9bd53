"""What a board heard beside what the reference did, for the terminal and for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from tinygen.listening.detector import Word
from tinygen.listening.playing import Moment
from tinygen.report.plain import plain
from tinygen.report.tables import plain_table
from tinygen.results import HeardResult


def heard_table(moments: Sequence[Moment]) -> Table:
    """One row for each result: when it was due, and its largest element."""
    table = plain_table("at", "largest", "value", "reference", "bytes", right=("at", "largest", "value"))
    for moment in moments:
        best = ("-", "") if moment.board is None else _best(moment.board)
        reference = "nothing" if moment.reference is None else "  ".join(_best(moment.reference))
        table.add_row(f"{moment.seconds:.3f} s", *best, reference, _verdict(moment))
    return table


def words_table(moments: Sequence[Moment], words: Sequence[Word]) -> Table:
    """One row for each word that was heard, and for each result that is not the reference's.

    When, what the board heard with the element of its output, and what the reference did.
    """
    table = plain_table("at", "word", "value", "reference", "", "bytes", right=("at", "value"))
    for moment in moments:
        if moment.matters:
            board, reference = (_word(found, words) for found in (moment.board, moment.reference))
            table.add_row(f"{moment.seconds:.3f} s", *board, *reference, _verdict(moment))
    return table


def word_line(moment: Moment, words: Sequence[Word]) -> str:
    """The same in a line, for a word that was heard just now."""
    word, value = _word(moment.board, words)
    line = f"{moment.seconds:8.3f} s  {word}  {value}".rstrip()
    if moment.equal:
        return line
    return f"{line}  DIFFERS: the reference says {' '.join(_word(moment.reference, words)).rstrip()}"


def heard_summary(moments: Sequence[Moment], seconds: float, has_words: bool) -> str:
    """What came of how much, and whether it is what the reference says, in a sentence or two."""
    heard = [moment for moment in moments if moment.board is not None]
    count = sum(moment.word is not None for moment in heard)
    words = f"{count} word{'s' if count != 1 else ''} in " if has_words else ""
    text = f"{words}{len(heard):,} results of {seconds:.1f} s."
    differing = sum(not moment.equal for moment in moments)
    if differing:
        return f"{text} {differing:,} of them are NOT what the reference says."
    return f"{text} All are what the reference says, in every byte." if moments else text


def heard_json(moments: Sequence[Moment]) -> Mapping[str, object]:
    """Words, and all results, with what the reference says of each."""
    words = [
        {
            "seconds": moment.seconds,
            "word": moment.word,
            "reference": None if moment.reference is None else moment.reference.word,
            "equal": moment.equal,
        }
        for moment in moments
        if moment.matters
    ]
    results = [
        {
            "seconds": moment.seconds,
            "word": moment.word,
            "equal": moment.equal,
            "result": None if moment.board is None else plain(moment.board.result),
            "reference": plain(moment.reference),
        }
        for moment in moments
    ]
    return {"words": words, "results": results}


def _best(heard: HeardResult) -> tuple[str, str]:
    index, value = heard.result.best
    return str(index), f"{value:.4g}"


def _word(heard: HeardResult | None, words: Sequence[Word]) -> tuple[str, str]:
    """The word, and the element of the output that it is; of no word, nothing."""
    if heard is None:
        return "no result", ""
    if heard.word is None:
        return "no word", ""
    output = next(word.output for word in words if word.label == heard.word)
    return heard.word, f"{next(iter(heard.result.real.values()))[output]:.4g}"


def _verdict(moment: Moment) -> Text:
    return Text("equal", "green") if moment.equal else Text("DIFFER", "bold red")
