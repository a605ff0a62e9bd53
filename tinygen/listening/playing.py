"""Samples played to a board: what it hears as they come, beside what the reference does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tinygen.ir import Array
from tinygen.listening.heard import Heard
from tinygen.listening.listener import Listener
from tinygen.listening.peers import ListeningPeer
from tinygen.manifest import Manifest
from tinygen.results import HeardResult, heard_result


@dataclass(frozen=True)
class Moment:
    """A result, of the board and of the reference; of one of them None, where only the other has it."""

    board: HeardResult | None
    reference: HeardResult | None
    equal: bool
    """In every byte of all outputs, in the word, and in when it was due."""

    @property
    def seconds(self) -> float:
        """From the beginning."""
        found = self.board or self.reference
        assert found is not None
        return found.seconds

    @property
    def word(self) -> str | None:
        """That the board heard."""
        return None if self.board is None else self.board.word

    @property
    def matters(self) -> bool:
        """Whether there is a word, or a difference."""
        return not self.equal or self.word is not None


def pieces(samples: Array, sample_rate: int) -> Iterator[Array]:
    """A recording as it would come: a tenth of a second at a time."""
    length = max(sample_rate // 10, 1)
    for start in range(0, len(samples), length):
        yield samples[start : start + length]


def play(chunks: Iterable[Array], content: Manifest, reference: Listener, peer: ListeningPeer) -> Iterator[Moment]:
    """Each result that is due with int16 (samples,) chunks, from a reset on, as soon as both have it.

    What only one of them has comes at the end.
    """
    reference.reset()
    ours: list[Heard] = []
    theirs: list[Heard] = []
    is_first = True
    for chunk in chunks:
        ours += reference.feed(chunk)
        theirs += peer.listen(chunk, is_first)
        is_first = False
        both = min(len(ours), len(theirs))
        for wanted, found in zip(ours[:both], theirs[:both], strict=True):
            yield Moment(heard_result(found, content), heard_result(wanted, content), _are_equal(wanted, found))
        ours, theirs = ours[both:], theirs[both:]
    for wanted in ours:
        yield Moment(None, heard_result(wanted, content), equal=False)
    for found in theirs:
        yield Moment(heard_result(found, content), None, equal=False)


def _are_equal(a: Heard, b: Heard) -> bool:
    return (list(a.outputs), a.word, a.after) == (list(b.outputs), b.word, b.after)
