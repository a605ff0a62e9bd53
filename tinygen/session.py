"""What can be asked of a board that runs a model: load inputs, run it, read results, look into its layers."""

from __future__ import annotations

import contextlib
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinygen.errors import BoardFault, InputError, LinkError, WrongModel
from tinygen.link import Link
from tinygen.manifest import Manifest

PROTOCOL_VERSION = 1

_HELLO, _PORT, _LOAD, _INVOKE, _READ, _RUN_LAYER, _READ_LAYER, _RESET, _STACK, _READ_STATE, _WRITE_STATE = range(1, 12)
_SELECT, _LISTEN = 12, 13

_NONCE_AND_VERSION = struct.Struct("<IB")
_HELLO_ANSWER = struct.Struct("<IBBHIIIBB32s")
_HEARD = struct.Struct("<IIBB")
_NO_WORD = 0xFF
_EMULATED_TICKS = 0x01
_EMULATED_CYCLES = 0x02
_UNKNOWN = 0xFFFFFFFF

# Called with (done, total) bytes or layers.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Hello:
    """What a board says about itself. Sizes are bytes."""

    version: int
    name: str
    sha256: str
    input_bytes: tuple[int, ...]
    output_bytes: tuple[int, ...]
    layers: int
    arena_bytes: int
    max_payload: int
    tick_hz: int | None  # None where ticks are not time
    emulated_ticks: bool
    emulated_cycles: bool  # of these: that they are the processor's cycles, as the emulator counts them


@dataclass(frozen=True)
class Taken:
    """What samples brought."""

    samples: int  # that were taken
    ticks: int | None  # None: too many to count
    due: bool  # a result, of which outputs() has the bytes
    word: int  # the index of the one that was heard; -1 for none


@dataclass(frozen=True)
class LayerRun:
    """One layer's run on the board."""

    crc32: int  # of its output
    ticks: int | None  # None: too many to count
    bytes: int


class Session:
    """A conversation with one board. Starts with hello(), which every other method calls where it was not."""

    def __init__(self, link: Link, progress: Progress | None = None) -> None:
        self._link = link
        self._progress = progress
        self._hello: Hello | None = None
        self._layer: LayerRun | None = None

    @property
    def port(self) -> str:
        """What the board is reached over, as messages call it."""
        return self._link.name

    def hello(self) -> Hello:
        """Ask the board what it is.

        Raises WrongModel when it speaks another version of the protocol, LinkError when nobody answers properly.
        """
        nonce = random.randrange(1 << 32)
        answer = self._link.request(_HELLO, struct.pack("<I", nonce), "the first greeting", booting=True)
        if len(answer) < _NONCE_AND_VERSION.size:
            raise self._odd("the first greeting")
        echoed, version = _NONCE_AND_VERSION.unpack_from(answer)
        if version != PROTOCOL_VERSION:
            raise WrongModel(
                f"{self._link.name}: the board speaks version {version} of the protocol, this tinygen version "
                f"{PROTOCOL_VERSION}: its firmware is from another tinygen",
                "Build and flash again: tinygen build MODEL -o OUT, then tinygen flash OUT.",
            )
        if len(answer) < _HELLO_ANSWER.size or echoed != nonce:
            raise self._odd("the first greeting")
        _, _, flags, max_payload, hz, layers, arena, inputs, outputs, sha256 = _HELLO_ANSWER.unpack_from(answer)
        self._hello = Hello(
            version=version,
            name=answer[_HELLO_ANSWER.size :].decode("utf-8", errors="replace"),
            sha256=sha256.hex(),
            input_bytes=tuple(self._port_bytes(0, index) for index in range(inputs)),
            output_bytes=tuple(self._port_bytes(1, index) for index in range(outputs)),
            layers=layers,
            arena_bytes=arena,
            max_payload=max_payload,
            tick_hz=hz or None,
            emulated_ticks=bool(flags & _EMULATED_TICKS),
            emulated_cycles=bool(flags & _EMULATED_CYCLES),
        )
        return self._hello

    def check_model(self, manifest: Manifest) -> Hello:
        """Make sure that the model of `manifest` is on the board, and talk about that one from now on.

        Raises WrongModel, with what is expected and what is there.
        """
        hello = self.hello()
        if hello.name != manifest.name:
            with contextlib.suppress(BoardFault):  # it has no other model, or cannot have any
                self._link.request(_SELECT, manifest.name.encode(), "selecting the model")
            hello = self.hello()
        expected = (
            manifest.model.sha256,
            tuple(port.bytes for port in manifest.inputs),
            tuple(port.bytes for port in manifest.outputs),
            len(manifest.layers),
        )
        found = (hello.sha256, hello.input_bytes, hello.output_bytes, hello.layers)
        if found != expected or hello.name != manifest.name:
            raise WrongModel(
                f"{self._link.name}: another model is on the board: "
                f"expected {_describe(manifest.name, *expected)}; found {_describe(hello.name, *found)}",
                "Flash the one you mean: tinygen flash OUT.",
            )
        return hello

    def load_inputs(self, inputs: Sequence[bytes]) -> None:
        """Send the bytes of every input of the model.

        Raises InputError when they do not have the sizes that the board expects.
        """
        hello = self._greeted()
        sizes = tuple(len(data) for data in inputs)
        if sizes != hello.input_bytes:
            raise InputError(f"the model takes inputs of {_sizes(hello.input_bytes)}, not of {_sizes(sizes)}")
        chunk = hello.max_payload - 5
        total, done = sum(sizes), 0
        for index, data in enumerate(inputs):
            for offset in range(0, len(data), chunk):
                piece = data[offset : offset + chunk]
                self._link.request(_LOAD, struct.pack("<BI", index, offset) + piece, f"loading input {index}")
                done += len(piece)
                self._report(done, total)

    def invoke(self) -> int | None:
        """Run the model on the loaded inputs, which it consumes. Ticks that it took; None when too many to count."""
        self._greeted()
        answer = self._link.request(_INVOKE, b"", "running the model", self._link.patience.invoke)
        return _ticks(self._number(answer, "running the model"))

    def listen(self, samples: bytes) -> Taken:
        """Give samples, int16 and little-endian, to a model with a front end: as many as a request has room for.

        It takes those up to the next result, and goes on where the last call ended.
        """
        what = "listening"
        room = self._greeted().max_payload // 2 * 2
        answer = self._link.request(_LISTEN, samples[:room], what, self._link.patience.invoke)
        if len(answer) != _HEARD.size:
            raise self._odd(what)
        taken, ticks, due, word = _HEARD.unpack(answer)
        return Taken(taken, _ticks(ticks), bool(due), -1 if word == _NO_WORD else word)

    def outputs(self) -> list[bytes]:
        """The bytes of every output, after invoke() or the last layer, or when a result is due."""
        sizes = self._greeted().output_bytes
        total, before, read = sum(sizes), 0, []
        for index, size in enumerate(sizes):
            read.append(self._read(_READ, struct.pack("<B", index), size, f"reading output {index}", before, total))
            before += size
        return read

    def run_layer(self, layer: int) -> LayerRun:
        """Run one layer, in order, the first after load_inputs(); its output is kept until the next one runs."""
        self._greeted()
        what = f"running layer {layer}"
        answer = self._link.request(_RUN_LAYER, struct.pack("<I", layer), what, self._link.patience.invoke)
        if len(answer) != 12:
            raise self._odd(what)
        crc, ticks, size = struct.unpack("<III", answer)
        self._layer = LayerRun(crc, _ticks(ticks), size)
        return self._layer

    def trace(self) -> list[LayerRun]:
        """Run all layers one by one on the loaded inputs, which they consume."""
        count = self._greeted().layers
        runs = []
        for layer in range(count):
            runs.append(self.run_layer(layer))
            self._report(layer + 1, count)
        return runs

    def read_layer(self) -> bytes:
        """The output of the layer that run_layer() ran last.

        Raises LinkError when its CRC-32 is not the one that the board computed when the layer had run.
        """
        if self._layer is None:
            raise LinkError("no layer has run yet", "Call load_inputs() and run_layer(0) first.")
        data = self._read(_READ_LAYER, b"", self._layer.bytes, "reading a layer", 0, self._layer.bytes)
        if zlib.crc32(data) != self._layer.crc32:
            raise LinkError(f"{self._link.name}: the layer's output changed while it was read", "Run it again.")
        return data

    def reset(self) -> None:
        """Put the model into its first state; loaded inputs and outputs are forgotten."""
        self._greeted()
        self._layer = None
        self._link.request(_RESET, b"", "resetting the model")

    def read_state(self, size: int) -> bytes:
        """What the model remembers; `size` is the manifest's state_bytes."""
        self._greeted()
        return self._read(_READ_STATE, b"", size, "reading the state", 0, size)

    def write_state(self, data: bytes) -> None:
        """Put back what read_state() gave; loaded inputs and outputs are forgotten."""
        chunk = self._greeted().max_payload - 4
        self._layer = None
        for offset in range(0, len(data), chunk):
            piece = struct.pack("<I", offset) + data[offset : offset + chunk]
            self._link.request(_WRITE_STATE, piece, "writing the state")
            self._report(min(offset + chunk, len(data)), len(data))

    def stack(self) -> int | None:
        """Bytes of stack that the last invoke() used; None when the board cannot tell."""
        self._greeted()
        used = self._number(self._link.request(_STACK, b"", "asking for the stack's use"), "asking for the stack's use")
        return None if used == _UNKNOWN else used

    def _greeted(self) -> Hello:
        return self._hello or self.hello()

    def _port_bytes(self, direction: int, index: int) -> int:
        what = f"asking for the size of {'output' if direction else 'input'} {index}"
        return self._number(self._link.request(_PORT, bytes((direction, index)), what), what)

    def _number(self, answer: bytes, what: str) -> int:
        if len(answer) != 4:
            raise self._odd(what)
        return int.from_bytes(answer, "little")

    def _read(self, request: int, prefix: bytes, size: int, what: str, before: int, total: int) -> bytes:
        chunk = self._greeted().max_payload
        data = bytearray()
        while len(data) < size:
            count = min(chunk, size - len(data))
            piece = self._link.request(request, prefix + struct.pack("<IH", len(data), count), what)
            if len(piece) != count:
                raise self._odd(what)
            data += piece
            self._report(before + len(data), total)
        return bytes(data)

    def _report(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, total)

    def _odd(self, what: str) -> LinkError:
        return LinkError(
            f"{self._link.name}: the answer to {what} does not have the form it should have",
            "The firmware is from another tinygen: build and flash again.",
        )


def _ticks(value: int) -> int | None:
    return None if value == _UNKNOWN else value


def _sizes(sizes: Sequence[int]) -> str:
    return (", ".join(str(size) for size in sizes) or "no") + " bytes"


def _describe(name: str, sha256: str, inputs: Sequence[int], outputs: Sequence[int], layers: int) -> str:
    return f"{name} (sha256 {sha256[:12]}, inputs {_sizes(inputs)}, outputs {_sizes(outputs)}, {layers} layers)"
