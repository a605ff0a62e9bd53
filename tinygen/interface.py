"""How an application and a model's library share memory."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.errors import UsageError

STATIC = "static"
"""The library has an arena of its own, or one together with other models."""
EXTERNAL = "external"
"""The application gives it one."""
ARENAS = (STATIC, EXTERNAL)


@dataclass(frozen=True)
class SharedArena:
    """A static arena of several models, of which one runs at a time."""

    name: str
    """Of the array, of the header that declares it, and of the library that defines it."""
    models: tuple[str, ...]
    """C prefixes of all of them."""

    def others(self, model: str) -> tuple[str, ...]:
        """All but one of the models."""
        return tuple(name for name in self.models if name != model)


def shared_by(models: tuple[str, ...]) -> SharedArena:
    """The arena of models with these C prefixes. Raises UsageError where a model has the arena's name."""
    shared = SharedArena(f"{models[0]}_shared_arena", models)
    if shared.name in models:
        raise UsageError(f"no model can be called {shared.name}: that is the arena that they share", "Use --name.")
    return shared


@dataclass(frozen=True)
class Interface:
    """Whose memory a library works in.

    Raises UsageError for what cannot be chosen.
    """

    arena: str = STATIC
    """One of ARENAS."""
    shared: SharedArena | None = None
    """Where the arena is static, but not the library's alone."""

    def __post_init__(self) -> None:
        if self.arena not in ARENAS:
            raise UsageError(f"unknown arena {self.arena!r}", f"Choose one of {', '.join(ARENAS)}.")

    @property
    def is_external(self) -> bool:
        """Whether the application gives the arena."""
        return self.arena == EXTERNAL

    @property
    def words(self) -> tuple[str, ...]:
        """The command line's words for what is not the default."""
        return ("--arena", self.arena) if self.is_external else ()
