"""One request to a board and its answer, over a line that loses, damages and repeats bytes.

The protocol is the table in firmware/runner/protocol.h. A request is repeated until it is answered or its time is
up; the board answers a repeat from memory, so nothing is executed twice.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, cast

import serial

try:
    from termios import error as _termios_error
except ImportError:  # Windows
    _termios_error = OSError  # type: ignore[assignment, misc]

from tinygen.errors import BoardFault, LinkError, LinkLost, NoAnswer, OutOfOrder
from tinygen.frame import Broken, Decoder, Frame, encode

ANSWER = 0x80
ERROR = 0xE0
NAK = 0xE1
FAULT = 0xE2

# pyserial lets the second one through.
_PORT_ERRORS = (OSError, _termios_error)

_LONGEST_FRAME = 256  # of frame.h's default: payload, header, CRC, what stuffing adds

_WRITE_SECONDS = 5.0

_FAULT_FIELDS = ("number", "pc", "status", "address")

_OUT_OF_ORDER = 5
_ERRORS = {
    1: "it does not know this request",
    2: "the request has the wrong length",
    3: "it has no such input, output, layer or model",
    4: "the range leaves the buffer",
    _OUT_OF_ORDER: "the request is out of order: the board may have restarted in between",
    6: "the model used up all of the stack, so its results are worthless",
}

_FAULTS = {
    3: "a HardFault",
    4: "a MemManage fault",
    5: "a BusFault",
    6: "a UsageFault",
    # RISC-V's, with 0x100 added to tell them from Arm's.
    0x100: "a misaligned instruction",
    0x101: "an instruction access fault",
    0x102: "an illegal instruction",
    0x103: "a breakpoint",
    0x104: "a misaligned load",
    0x105: "a load access fault",
    0x106: "a misaligned store",
    0x107: "a store access fault",
}


class Transport(Protocol):
    """A byte stream to a board. pyserial's ports are, and so are the tests' fakes."""

    def read(self, size: int) -> bytes:
        """At least one byte and at most `size`, or nothing after a short wait; OSError when the port is gone."""

    def write(self, data: bytes, /) -> object:
        """Send all of `data`; OSError when the port is gone."""

    def close(self) -> None:
        """Let go of the port."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how often to try."""

    repeat: float = 1.0  # silence after which a request is repeated
    damaged: float = 0.1  # the same after damaged bytes, in case that the answer is right behind them
    answer: float = 8.0  # until nobody is thought to be there
    invoke: float = 120.0  # the same while the model runs
    attempts: int = 12  # requests sent in vain because of damage
    boot: float = 0.0  # while a board that starts may say anything, damaged or not

    @classmethod
    def at(cls, baud: int, boot: float = 0.0) -> Patience:
        """With time for the longest request and its answer, at ten bits a byte, and for a board to start."""
        seconds = 2 * _LONGEST_FRAME * 10 / baud
        return cls(
            repeat=cls.repeat + seconds, damaged=cls.damaged + seconds, answer=cls.answer + 4 * seconds, boot=boot
        )


class Link:
    """A connection to a board. Use as a context manager, or close() it."""

    def __init__(self, transport: Transport, name: str, patience: Patience | None = None) -> None:
        """Take over an open `transport`; `name` is what messages call it, e.g. "/dev/ttyACM0 at 115200 baud"."""
        self.name = name
        self.patience = patience or Patience()
        self._transport = transport
        self._decoder = Decoder()
        self._seq = random.randrange(256)  # answers to an earlier host are not taken for ours

    def __enter__(self) -> Link:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the port."""
        self._transport.close()

    def request(
        self, type: int, payload: bytes = b"", what: str = "", seconds: float | None = None, booting: bool = False
    ) -> bytes:
        """The payload of the answer to a request; `what` names it in messages, `seconds` is how long to wait.

        Of a board that may be `booting`, damaged bytes are nothing to worry about for a while.

        Raises NoAnswer, LinkLost, BoardFault, or LinkError when the line damages everything.
        """
        self._seq = (self._seq + 1) % 256
        what = what or f"request 0x{type:02x}"
        frame = encode(Frame(type, self._seq, payload))
        started = time.monotonic()
        deadline = started + (self.patience.answer if seconds is None else seconds)
        damaged = 0
        heard = False
        try:
            while True:
                self._transport.write(frame)
                answer, noise = self._wait(type, deadline)
                if answer is not None:
                    return answer.payload
                heard = heard or noise
                damaged += noise
                calm = not booting or time.monotonic() - started >= self.patience.boot
                if damaged >= self.patience.attempts and calm:
                    raise LinkError(
                        f"{self.name}: {what} failed {damaged} times in a row on damaged bytes",
                        "Check the cable and the baud rate; another program may be reading from the same port.",
                    )
                if time.monotonic() >= deadline:
                    raise self._no_answer(what, time.monotonic() - started, heard)
        except _PORT_ERRORS as error:
            raise LinkLost(
                f"{self.name}: the port went away during {what}: {error}",
                "Plug the board in again, or start it again with `tinygen flash OUT`.",
            ) from error

    def _wait(self, type: int, deadline: float) -> tuple[Frame | None, bool]:
        """The answer, or None when it is time to repeat the request; and whether damaged bytes came."""
        repeat = min(time.monotonic() + self.patience.repeat, deadline)
        noise = False
        while time.monotonic() < repeat:
            for item in self._decoder.feed(self._transport.read(4096)):
                if isinstance(item, Broken):
                    if not noise:
                        repeat = min(repeat, time.monotonic() + self.patience.damaged)
                    noise = True
                elif item.type == NAK:
                    return None, True
                elif item.type == FAULT:
                    raise self._fault(item.payload)
                elif item.seq == self._seq and item.type == ERROR:
                    raise self._error(type, item.payload)
                elif item.seq == self._seq and item.type == type | ANSWER:
                    return item, noise
                # Everything else answers an earlier request that was sent more than once.
        return None, noise

    def _no_answer(self, what: str, seconds: float, heard: bool) -> NoAnswer:
        heard_text = "only bytes that make no sense came" if heard else "nothing came"
        return NoAnswer(
            f"{self.name}: no answer to {what} in {seconds:.1f} s, {heard_text}",
            "Is the firmware on the board? Flash it: tinygen flash OUT. "
            "Is it the right port, and does no other program use it?",
        )

    def _error(self, type: int, payload: bytes) -> BoardFault:
        code = payload[1] if len(payload) == 2 and payload[0] == type else 0
        reason = _ERRORS.get(code, f"error {payload.hex() or 'without a number'}")
        kind = OutOfOrder if code == _OUT_OF_ORDER else BoardFault
        return kind(f"{self.name}: the board refused request 0x{type:02x}: {reason}", "Flash it again and retry.")

    def _fault(self, payload: bytes) -> BoardFault:
        values = [int.from_bytes(payload[at : at + 4], "little") for at in range(0, 16, 4)]
        described = ", ".join(
            f"{field} 0x{value:08x}" for field, value in zip(_FAULT_FIELDS[1:], values[1:], strict=True)
        )
        kind = _FAULTS.get(values[0], f"an exception with the number {values[0]}")
        return BoardFault(
            f"{self.name}: the processor stopped on {kind} ({described})",
            "The compiler's addr2line -fe firmware.elf PC says where. `tinygen flash OUT` starts the board again.",
        )


class _SerialTransport:
    """A pyserial port, whose read() would wait for all of the bytes asked for."""

    def __init__(self, port: serial.SerialBase) -> None:
        self._port = port

    def read(self, size: int) -> bytes:
        first = cast(bytes, self._port.read(1))
        waiting = int(self._port.in_waiting) if first else 0
        return first + (cast(bytes, self._port.read(min(waiting, size - 1))) if waiting else b"")

    def write(self, data: bytes, /) -> object:
        return self._port.write(data)

    def close(self) -> None:
        self._port.close()


def open_link(port: str, baud: int, patience: Patience | None = None) -> Link:
    """Open a serial port, a pty, or a pyserial URL such as ``socket://127.0.0.1:4000`` or ``rfc2217://lab:4000``.

    Raises NoAnswer when it cannot be opened.
    """
    # pyserial refuses to limit writes with RFC 2217, of which the socket has a limit of its own.
    limit = None if port.lower().startswith("rfc2217:") else _WRITE_SECONDS
    try:
        # Exclusive: a second host would take answers away from the first.
        opened = serial.serial_for_url(port, baudrate=baud, timeout=0.05, write_timeout=limit, exclusive=True)
    except (*_PORT_ERRORS, ValueError) as error:
        raise NoAnswer(
            f"cannot open the serial port {port}: {error}",
            "Is the board plugged in, or the emulator started (`tinygen flash OUT`)? Does another program use it? "
            "May you use it? On Linux, members of the group dialout may.",
        ) from None
    try:
        opened.reset_input_buffer()
    except _PORT_ERRORS as error:
        opened.close()
        raise LinkLost(f"{port}: the port went away while it was opened: {error}", "Plug the board in again.") from None
    return Link(_SerialTransport(opened), f"{port} at {baud} baud", patience or Patience.at(baud))
