"""The host's side of MLPerf Tiny's device protocol, as its own runner speaks it, over any two functions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

SECONDS = 300.0
BYTES = 31
"""In one command, as the runner has it."""


@dataclass
class Client:
    write: Callable[[bytes], object]
    read: Callable[[], bytes]
    """What has come; nothing where nothing has."""
    heard: bytes = b""

    def lines(self) -> list[str]:
        """What is said up to m-ready, without it."""
        deadline = time.monotonic() + SECONDS
        while b"m-ready\r\n" not in self.heard:
            assert time.monotonic() < deadline, self.heard
            self.heard += self.read()
        said, _, self.heard = self.heard.partition(b"m-ready\r\n")
        assert said.count(b"\n") == said.count(b"\r\n") == said.count(b"\r") and (not said or said.endswith(b"\r\n"))
        return said.decode("ascii").split("\r\n")[:-1]

    def ask(self, command: str) -> list[str]:
        self.write(command.encode() + b"%")
        return self.lines()

    def load(self, raw: bytes) -> None:
        assert self.ask(f"db load {len(raw)}") == [f"m-[Expecting {len(raw)} bytes]"]
        for start in range(0, len(raw), BYTES):
            said = self.ask(f"db {raw[start : start + BYTES].hex()}")
            assert said == (["m-load-done"] if start + BYTES >= len(raw) else [])

    def infer(self, count: int, warmups: int) -> tuple[list[int], str]:
        """Both times, and the line of results."""
        said = self.ask(f"infer {count} {warmups}")
        before = [f"m-warmup-start-{warmups}", "m-warmup-done", f"m-infer-start-{count}"]
        laps = said[3:5]
        assert [*said[:3], said[5]] == [*before, "m-infer-done"] and len(said) == 7
        assert all(lap.startswith("m-lap-us-") for lap in laps)
        return [int(lap.removeprefix("m-lap-us-")) for lap in laps], said[6]
