"""A board as a peer: flashed with an output folder's firmware, asked over its serial port."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tinygen import firmware
from tinygen.greeting import greet
from tinygen.ir import Array
from tinygen.link import Patience, open_link
from tinygen.listening.heard import Heard
from tinygen.manifest import Manifest
from tinygen.peer import Answer
from tinygen.session import Session

_BOOT_SECONDS = 5.0
_RESTART_SECONDS = 6.0
"""For a board whose port goes away with each reset."""


class BoardPeer:
    """A board that runs the model of a manifest."""

    def __init__(self, manifest: Manifest, session: Session) -> None:
        self.name = manifest.board
        self.profile = None
        self.stack_bytes: int | None = None
        self.feed_stack_bytes: int | None = None
        """Of stack that taking samples has used at most, results included, as the runner measures it."""
        self.session = session
        self._state_bytes = manifest.state_bytes
        self._taken = 0

    def run(self, inputs: Sequence[bytes], reset: bool) -> Answer:
        """Every layer by itself for the checksums, then from the same state one invoke for the outputs."""
        if reset:
            self.session.reset()
        before = self.session.read_state(self._state_bytes)
        self.session.load_inputs(inputs)
        crcs = [layer.crc32 for layer in self.session.trace()]
        self.session.write_state(before)
        outputs, _ = self.invoke(inputs)
        self.stack_bytes = max(self.stack_bytes or 0, self.session.stack() or 0) or None

        def layer(index: int) -> bytes:
            after = self.session.read_state(self._state_bytes)
            self.session.write_state(before)
            self.session.load_inputs(inputs)
            for earlier in range(index + 1):
                self.session.run_layer(earlier)
            data = self.session.read_layer()
            self.session.write_state(after)
            return data

        return Answer(outputs, crcs, layer)

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
def connected(out: Path, manifest: Manifest, port: str | None = None) -> Iterator[BoardPeer]:
    """The board that already runs the firmware of `out`.

    Raises LinkError when it does not answer, or runs another model, UsageError when it is for somebody else.
    """
    firmware.expect_runner(out)
    baud = firmware.baud(out)
    patience = Patience.at(baud, _BOOT_SECONDS if firmware.starts_when_opened(out) else 0.0)
    seconds = _RESTART_SECONDS if firmware.restarts(out) else 0.0
    link, session = greet(
        lambda: firmware.current_port(out, port), lambda url: open_link(url, baud, patience), manifest, seconds
    )
    with link:
        yield BoardPeer(manifest, session)


@contextlib.contextmanager
def flashed(
    out: Path, manifest: Manifest, port: str | None = None, on_line: Callable[[str], None] | None = None
) -> Iterator[BoardPeer]:
    """Build and flash first; an emulated board is stopped again on leaving."""
    firmware.expect_runner(out)
    try:
        url = firmware.flash(out, port, on_line)
        with connected(out, manifest, url) as peer:
            yield peer
    finally:
        firmware.stop(out)
