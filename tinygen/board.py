"""A board as a peer: flashed with an output folder's firmware, asked over its serial port."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from tinygen import firmware, labgrid_place
from tinygen.board_line import Say, line_to
from tinygen.errors import LinkLost, NoAnswer, OutOfOrder, TinygenError
from tinygen.ir import Array
from tinygen.listening.heard import Heard
from tinygen.manifest import Manifest
from tinygen.peer import Answer
from tinygen.session import Session

_MOST_LOSSES = 5
"""In one sample: a board that goes away each time does not get through it."""

_T = TypeVar("_T")

Reconnect = Callable[[TinygenError], Session]
"""The conversation with a board that went away, once it is back; or raises the error that said so."""


def _never(lost: TinygenError) -> Session:
    raise lost


class BoardPeer:
    """A board that runs the model of a manifest."""

    def __init__(self, manifest: Manifest, session: Session, reconnect: Reconnect = _never) -> None:
        self.name = manifest.board
        self.profile = None
        self.stack_bytes: int | None = None
        self.feed_stack_bytes: int | None = None
        """Of stack that taking samples has used at most, results included, as the runner measures it."""
        self.session = session
        self.state = b""
        """What the model remembers after the last run()."""
        self._reconnect = reconnect
        self._state_bytes = manifest.state_bytes
        self._taken = 0

    def restore(self, state: bytes) -> None:
        """Put the model into the state that an earlier run() left."""
        self.state = state
        self._steadily(lambda: self.session.write_state(state))

    def run(self, inputs: Sequence[bytes], reset: bool) -> Answer:
        """Every layer by itself for the checksums, then from the same state one invoke for the outputs.

        A board that goes away meanwhile, and comes back, starts again with these inputs, in the state that it had.
        """
        return self._steadily(lambda: self._run(inputs, reset))

    def _run(self, inputs: Sequence[bytes], reset: bool) -> Answer:
        if reset:
            self.session.reset()
        before = self.session.read_state(self._state_bytes)
        self.session.load_inputs(inputs)
        crcs = [layer.crc32 for layer in self.session.trace()]
        self.session.write_state(before)
        outputs, _ = self.invoke(inputs)
        self.stack_bytes = max(self.stack_bytes or 0, self.session.stack() or 0) or None
        self.state = after = self.session.read_state(self._state_bytes)

        def layer(index: int) -> bytes:
            self.session.write_state(before)
            self.session.load_inputs(inputs)
            for earlier in range(index + 1):
                self.session.run_layer(earlier)
            data = self.session.read_layer()
            self.session.write_state(after)
            return data

        return Answer(outputs, crcs, lambda index: self._steadily(lambda: layer(index)))

    def _steadily(self, do: Callable[[], _T]) -> _T:
        """Do it; again, in the state that was left last, when the board went away meanwhile and came back."""
        losses = 0
        while True:
            try:
                if losses:
                    self.session.write_state(self.state)
                return do()
            except (LinkLost, NoAnswer, OutOfOrder) as lost:
                losses += 1
                if losses > _MOST_LOSSES:
                    raise
                self.session = self._reconnect(lost)

    def listen(self, samples: Array, reset: bool) -> list[Heard]:
        """Each result that is due with int16 (samples,); `reset` forgets earlier ones."""
        if reset:
            self.session.reset()
            self._taken = 0
        data, taken, found = samples.astype("<i2").tobytes(), 0, []
        while taken < len(samples):
            answer = self.session.listen(data[2 * taken :])
            taken += answer.samples
            if answer.due:
                self.feed_stack_bytes = max(self.feed_stack_bytes or 0, self.session.stack() or 0) or None
                found.append(Heard(self.session.outputs(), answer.word, self._taken + taken))
        self._taken += taken
        return found

    def invoke(self, inputs: Sequence[bytes]) -> tuple[list[bytes], int | None]:
        """The outputs' bytes, and the ticks that the invoke took."""
        self.session.load_inputs(inputs)
        ticks = self.session.invoke()
        return self.session.outputs(), ticks


@contextlib.contextmanager
def connected(
    out: Path, manifest: Manifest, port: str | None = None, wait_seconds: float = 0.0, say: Say = lambda text: None
) -> Iterator[BoardPeer]:
    """The board that already runs the firmware of `out`.

    When it goes away, it is waited for, so many seconds; `say` is told. Raises LinkError when it does not answer, or
    runs another model, UsageError when it is for somebody else.
    """
    firmware.expect_runner(out)
    with labgrid_place.resolved(port) as url:
        line = line_to(out, manifest, url)
        try:
            yield BoardPeer(manifest, line.open(), lambda lost: line.again(lost, wait_seconds, say))
        finally:
            line.close()


@contextlib.contextmanager
def flashed(
    out: Path,
    manifest: Manifest,
    port: str | None = None,
    on_line: Callable[[str], None] | None = None,
    wait_seconds: float = 0.0,
    say: Say = lambda text: None,
) -> Iterator[BoardPeer]:
    """Build and flash first; an emulated board is stopped again on leaving.

    One that is reached through a URL is far away: it is not flashed, and has to run the firmware. See connected().
    """
    if is_far(port):
        with connected(out, manifest, port, wait_seconds, say) as peer:
            yield peer
        return
    firmware.expect_runner(out)
    try:
        url = firmware.flash(out, port, on_line)
        with connected(out, manifest, url, wait_seconds, say) as peer:
            yield peer
    finally:
        firmware.stop(out)


def is_far(port: str | None) -> bool:
    """Whether a port is that of another machine, or a program's."""
    return port is not None and "://" in port
