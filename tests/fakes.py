"""A board that exists only in Python, and a line that loses, damages and repeats frames on the way to it."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator

import serial
import toy_model

from tinygen.frame import Broken, Decoder, Frame, encode
from tinygen.link import Patience, Transport

# Short waits: what the tests provoke is over in milliseconds.
IMPATIENT = Patience(repeat=0.02, damaged=0.01, answer=1.5, invoke=3.0, attempts=12, boot=0.5)

FAULTS = ("corrupt", "drop", "duplicate", "truncate", "noise")


class FakeBoard:
    """The toy model behind the protocol of firmware/runner/protocol.h, as a transport without faults."""

    def __init__(self, sha256: str = toy_model.SHA256, name: str = "toy", version: int = 1) -> None:
        self.sha256 = sha256
        self.name = name
        self.version = version
        self.calls = 0  # since the last reset: the model's state
        self.executed: list[int] = []  # types of the requests that were not repeats
        self.fault: bytes | None = None  # payload of FAULT, once the processor stopped
        self.closed = False
        self._decoder = Decoder()
        self._out = b""
        self._answered: tuple[Frame, bytes] | None = None
        self._input = b""
        self._layers: list[bytes] = []
        self._ran = 0

    def write(self, data: bytes, /) -> None:
        for item in self._decoder.feed(data):
            self._out += self._reply(item)

    def read(self, size: int) -> bytes:
        if not self._out:
            time.sleep(0.001)
        data, self._out = self._out[:size], self._out[size:]
        return data

    def close(self) -> None:
        self.closed = True

    def say(self, data: bytes) -> None:
        """Bytes that the board sends without being asked."""
        self._out += data

    def _reply(self, item: Frame | Broken) -> bytes:
        if self.fault is not None:
            return encode(Frame(0xE2, 0, self.fault))
        if isinstance(item, Broken):
            return encode(Frame(0xE1, 0, b""))
        if self._answered is None or self._answered[0] != item:
            self.executed.append(item.type)
            result = self._execute(item.type, item.payload)
            if self.fault is not None:
                return encode(Frame(0xE2, 0, self.fault))
            if isinstance(result, int):
                answer = Frame(0xE0, item.seq, bytes((item.type, result)))
            else:
                answer = Frame(item.type | 0x80, item.seq, result)
            self._answered = (item, encode(answer))
        return self._answered[1]

    def _execute(self, type: int, payload: bytes) -> bytes | int:
        size = toy_model.BYTES
        match type:
            case 1:
                fields = (240, 0, 2, size, 1, 1, bytes.fromhex(self.sha256))
                return payload + struct.pack("<BBHIIIBB32s", self.version, 1, *fields) + self.name.encode()
            case 2:
                return struct.pack("<I", size) if payload[1] == 0 else 3
            case 3:
                offset = struct.unpack_from("<I", payload, 1)[0]
                if offset == 0:
                    self._input, self._layers = b"", []
                if offset != len(self._input) or offset + len(payload) - 5 > size:
                    return 5
                self._input += payload[5:]
                return b""
            case 4 | 6:
                layer = struct.unpack("<I", payload)[0] if type == 6 else 0
                if layer == 0:
                    if len(self._input) != size:
                        return 5
                    self._layers = toy_model.layers(self._input, self.calls)
                    self._input, self.calls = b"", self.calls + 1
                elif layer != self._ran:
                    return 5
                self._ran = 2 if type == 4 else layer + 1
                if type == 4:
                    return struct.pack("<I", 1000)
                return struct.pack("<III", self._crc(layer), 500, size)
            case 5 | 7:
                offset, count = struct.unpack("<IH", payload[-6:])
                if not self._layers or (type == 5 and self._ran != 2):
                    return 5
                return self._layers[self._ran - 1][offset : offset + count]
            case 8:
                self.calls, self._input, self._layers = 0, b"", []
                return b""
            case 9:
                return struct.pack("<I", 123)
            case 10:
                offset, count = struct.unpack("<IH", payload)
                return bytes([self.calls])[offset : offset + count]
            case 11:
                self.calls = payload[4]
                return b""
        return 1

    def _crc(self, layer: int) -> int:
        return toy_model.layer_crcs_of(self._layers)[layer]


class StartingBoard:
    """A board that starts when its port is opened: for a while it says what makes no sense, and hears nothing."""

    def __init__(
        self, inner: Transport, seconds: float, says: bytes = b"ets Jun  8 2016\r\nrst:0x1\0\xfe\0\xff"
    ) -> None:
        self._inner = inner
        self._says = says
        self._runs = time.monotonic() + seconds

    def write(self, data: bytes, /) -> None:
        if time.monotonic() >= self._runs:
            self._inner.write(data)

    def read(self, size: int) -> bytes:
        if time.monotonic() >= self._runs:
            return self._inner.read(size)
        time.sleep(0.002)
        return self._says[:size]

    def close(self) -> None:
        self._inner.close()


class SlowLine:
    """A transport that takes its time for every byte, in both directions, as a UART does."""

    def __init__(self, inner: Transport, baud: int) -> None:
        self.sent = 0
        self._inner = inner
        self._byte_seconds = 10 / baud
        self._free = 0.0  # when the line has sent what it was given
        self._waiting: list[tuple[float, bytes]] = []

    def write(self, data: bytes, /) -> None:
        self.sent += 1
        self._free = max(self._free, time.monotonic()) + len(data) * self._byte_seconds
        self._waiting.append((self._free, data))

    def read(self, size: int) -> bytes:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            self._inner.write(self._waiting.pop(0)[1])
        data = self._inner.read(min(size, 8))
        time.sleep(len(data) * self._byte_seconds)
        return data

    def close(self) -> None:
        self._inner.close()


class LossyLine:
    """A transport in front of another one. Each frame, in either direction, meets the next fault of the plan."""

    def __init__(self, inner: Transport, plan: Iterable[str] = ()) -> None:
        self.frames = 0
        self._inner = inner
        self._plan: Iterator[str] = iter(plan)
        self._received = b""
        self._ready = b""

    def write(self, data: bytes, /) -> None:
        self._inner.write(self._meet(data))

    def read(self, size: int) -> bytes:
        if not self._ready:
            *pieces, self._received = (self._received + self._inner.read(4096)).split(b"\0")
            self._ready = b"".join(self._meet(b"\0" + piece + b"\0") for piece in pieces if piece)
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def close(self) -> None:
        self._inner.close()

    def _meet(self, frame: bytes) -> bytes:
        self.frames += 1
        fault = next(self._plan, "none")
        middle = len(frame) // 2
        match fault:
            case "corrupt":
                return frame[:middle] + bytes((frame[middle] ^ 0x15 or 0x15,)) + frame[middle + 1 :]
            case "drop" | "silent":
                return b""
            case "duplicate":
                return frame + frame
            case "truncate":
                return frame[:middle]
            case "noise":
                return b"\x07boot: \xff\x00\x13" + frame + b"\x55"
            case "unplug":
                raise serial.SerialException("device disconnected")
        return frame
