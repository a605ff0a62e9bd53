"""PlatformIO's descriptions of boards: from its installed platforms, from a file, or from its registry."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.errors import BoardError, ToolFailed
from tinygen.platformio_storage import REGISTRY, platforms_folder, unreachable

_SECONDS = 60


@dataclass(frozen=True)
class Described:
    """A board as PlatformIO describes it."""

    identity: str
    platform: str
    """With its version, where that is known."""
    facts: Mapping[str, Any]


def describe(board: str, platform: str | None = None) -> Described:
    """The board of that id, or of that JSON file; `platform` is where the file is not in a platform's own folder.

    Raises BoardError for a board or a file that is none, ToolFailed when PlatformIO has to ask its registry and cannot.
    """
    if board.endswith(".json") or "/" in board or "\\" in board:
        return _from_file(Path(board), platform)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", board):
        raise BoardError(
            f"{board!r} cannot be the id of a board", "Ids look like nucleo_f446re: pio boards lists them."
        )
    installed = sorted(platforms_folder().glob(f"*/boards/{board}.json"))
    return _from_file(installed[-1], platform) if installed else _from_registry(board, platform)


def _from_file(path: Path, platform: str | None) -> Described:
    facts = _json(path)
    if platform is None:
        own = path.resolve().parent.parent / "platform.json"
        if not own.is_file():
            raise BoardError(
                f"{path} does not say which platform of PlatformIO it is for", "Name it: --platform ststm32@19.6.0."
            )
        described = _json(own)
        platform = "@".join(str(described[key]) for key in ("name", "version") if key in described)
    return Described(path.stem, platform, facts)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BoardError(f"cannot read {path}: {error}") from None
    if not isinstance(content, dict):
        raise BoardError(f"{path} is no description of a board: it has no fields")
    return content


def _from_registry(board: str, platform: str | None) -> Described:
    """What the registry lists is less than a platform's own file: it says neither the core nor the USB devices."""
    reason = unreachable(REGISTRY)
    if reason is not None:
        raise ToolFailed(
            f"no installed platform of PlatformIO has a board {board!r}, and its registry {REGISTRY[0]} cannot be "
            f"reached: {reason}",
            "Go online, or give the path of PlatformIO's JSON file of the board.",
        )
    command = [sys.executable, "-m", "platformio", "boards", board, "--json-output"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        listed = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise ToolFailed("PlatformIO does not list its boards", "Try it by hand: " + " ".join(command[2:])) from None
    return from_listing(board, listed, platform)


def from_listing(board: str, listed: object, platform: str | None = None) -> Described:
    """The board among those that ``pio boards --json-output`` lists. Raises BoardError where it is not."""
    found = (
        [row for row in listed if isinstance(row, dict) and row.get("id") == board] if isinstance(listed, list) else []
    )
    if not found:
        raise BoardError(f"PlatformIO has no board {board!r}", f"Look for it: pio boards {board[:6]}")
    row = found[0]
    facts = {
        "name": row.get("name"),
        "frameworks": row.get("frameworks"),
        "build": {"mcu": row.get("mcu"), "f_cpu": str(row.get("fcpu"))},
        "upload": {"maximum_size": row.get("rom"), "maximum_ram_size": row.get("ram")},
    }
    return Described(board, platform or str(row.get("platform")), facts)
