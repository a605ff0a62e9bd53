"""Frames on a byte stream: COBS between zero bytes, with a CRC-32 at the end (firmware/runner/frame.h)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from cobs import cobs

_CRC = struct.Struct("<I")
_SHORTEST = 2 + _CRC.size

# A stream without a zero in this many bytes carries no frames; more is not kept.
_LONGEST = 1 << 17


@dataclass(frozen=True)
class Frame:
    """A frame that arrived whole."""

    type: int
    seq: int
    payload: bytes


@dataclass(frozen=True)
class Broken:
    """Bytes between two zeros that are no frame: damaged, or noise."""

    data: bytes


def encode(frame: Frame) -> bytes:
    """The bytes to send, delimiters included: the zero in front ends whatever came before."""
    body = bytes((frame.type, frame.seq)) + frame.payload
    stuffed: bytes = cobs.encode(body + _CRC.pack(zlib.crc32(body)))
    return b"\0" + stuffed + b"\0"


class Decoder:
    """Cuts received bytes into frames; bytes may arrive in pieces of any size."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[Frame | Broken]:
        """What is complete with `data`, in order of arrival. Never raises."""
        *pieces, self._pending = (self._pending + data).split(b"\0")
        self._pending = self._pending[-_LONGEST:]
        return [_decode(piece) for piece in pieces if piece]


def _decode(piece: bytes) -> Frame | Broken:
    try:
        decoded: bytes = cobs.decode(piece)
    except cobs.DecodeError:
        return Broken(piece)
    body, crc = decoded[: -_CRC.size], decoded[-_CRC.size :]
    if len(decoded) < _SHORTEST or _CRC.unpack(crc)[0] != zlib.crc32(body):
        return Broken(piece)
    return Frame(body[0], body[1], body[2:])
