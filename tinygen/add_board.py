"""A board file of the user's own, from PlatformIO's description."""

from __future__ import annotations

from pathlib import Path

from tinygen.board_from_platformio import board_text
from tinygen.errors import BoardError, OutputError
from tinygen.platformio_boards import describe
from tinygen.target import Board, list_cores, load_board


def add_board(board: str, out: Path | None = None, platform: str | None = None) -> tuple[Path, Board]:
    """Write the file of PlatformIO's board of that id, or of that JSON file; its path, and what it says.

    `out` is ID.toml in the current folder unless it is said. Raises BoardError and ToolFailed for boards that cannot be
    described, OutputError for a file that is there already or cannot be written: nothing is overwritten.
    """
    described = describe(board, platform)
    path = out or Path(f"{described.identity.lower()}.toml")
    if path.suffix != ".toml":
        raise BoardError(f"{path}: a board's file is called NAME.toml", f"Name it: -o {path.stem}.toml")
    text = board_text(described.identity, described.platform, described.facts, frozenset(list_cores()))
    try:
        file = path.open("x", encoding="utf-8")
    except FileExistsError:
        raise OutputError(f"{path} is there already", "Name another file with -o, or remove it.") from None
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None
    try:
        with file:
            file.write(text)
        return path, load_board(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
