"""How an application and a model's library share memory."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.errors import UsageError

STATIC = "static"
"""The library has an arena of its own."""
EXTERNAL = "external"
"""The application gives it one."""
ARENAS = (STATIC, EXTERNAL)


@dataclass(frozen=True)
class Interface:
    """Whose memory a library works in.

    Raises UsageError for what cannot be chosen.
    """

    arena: str = STATIC
    """One of ARENAS."""

    def __post_init__(self) -> None:
        if self.arena not in ARENAS:
            raise UsageError(f"unknown arena {self.arena!r}", f"Choose one of {', '.join(ARENAS)}.")

    @property
    def words(self) -> tuple[str, ...]:
        """The command line's words for what is not the default."""
        return ("--arena", self.arena) if self.arena != STATIC else ()
