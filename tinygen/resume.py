"""What boards have verified so far, in a small file: to go on there after an interruption."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinygen.difference import Difference
from tinygen.errors import OutputError
from tinygen.report.plain import plain
from tinygen.samples import Sample
from tinygen.tally import Tally

_FORMAT = "tinygen verify, 1"


class Resume:
    """A file of tallies by peer; each keep() writes it anew, and leaves the old one until the new one is whole."""

    def __init__(self, path: Path, about: str) -> None:
        """`about` says what is verified (see about()); a file that is there goes on.

        Raises OutputError for one that is about something else, or none of ours.
        """
        self._path = path
        self._about = about
        self._peers: dict[str, dict[str, Any]] = {}
        if not path.exists():
            return
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise ValueError(f"its format is {content['format']!r}")
            self._peers = dict(content["peers"])
            for name in self._peers:
                self.known(name)
            found = content["about"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{path} is not what an interrupted `tinygen verify` left: {type(error).__name__} {error}",
                "Give --resume the name of a file that is not there yet, or of one that it wrote.",
            ) from None
        if found != about:
            raise OutputError(
                f"{path} is about another library, or about other inputs",
                "Give the same --samples, --seed and --inputs as before; or another file, to begin anew.",
            )

    def known(self, peer: str) -> tuple[Tally, bytes]:
        """What a peer had done when it was kept last, and its model's state."""
        found = self._peers.get(peer)
        if found is None:
            return Tally(), b""
        differences = (
            Difference(**{**difference, "element": tuple(difference["element"])})
            for difference in found["tally"]["differences"]
        )
        tally = Tally(**found["tally"])
        return (
            replace(tally, differences=tuple(differences), layers=tuple(tally.layers)),
            bytes.fromhex(found["state"]),
        )

    def keep(self, peer: str, tally: Tally, state: bytes) -> None:
        """Write down what a peer has done. Raises OSError."""
        self._peers[peer] = {"tally": plain(tally), "state": state.hex()}
        content = {"format": _FORMAT, "about": self._about, "peers": self._peers}
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            new.replace(self._path)
        finally:
            new.unlink(missing_ok=True)

    def done(self) -> int:
        """Samples that all peers have done that were kept."""
        return min((self.known(name)[0].samples for name in self._peers), default=0)


def about(manifest: Path, samples: Sequence[Sample]) -> str:
    """A hash of what is verified: the manifest's file, and every input."""
    found = hashlib.sha256(manifest.read_bytes())
    for sample in samples:
        found.update(bytes([sample.reset]))
        for data in sample.bytes:
            found.update(data)
    return found.hexdigest()
