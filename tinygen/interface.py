"""How an application and a model's library share memory."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.errors import UsageError

STATIC = "static"
"""The library has an arena of its own, or one together with other models."""
EXTERNAL = "external"
"""The application gives it one."""
ROWS = "rows"
"""Of the input: the application feeds its rows one by one."""
ARENAS = PORTS = (STATIC, EXTERNAL)
"""What the application can choose between for the arena; for inputs, and outputs."""


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
    input: str = STATIC
    """Whose memory inputs lie in, one of PORTS: in the arena, or where the application has them; or ROWS."""
    output: str = STATIC
    """The same for outputs, one of PORTS."""

    def __post_init__(self) -> None:
        choices = (
            ("arena", self.arena, ARENAS),
            ("input", self.input, (*PORTS, ROWS)),
            ("output", self.output, PORTS),
        )
        for what, choice, known in choices:
            if choice not in known:
                raise UsageError(f"unknown {what} {choice!r}", f"Choose one of {', '.join(known)}.")

    @property
    def is_external(self) -> bool:
        """Whether the application gives the arena."""
        return self.arena == EXTERNAL

    @property
    def by_rows(self) -> bool:
        """Whether the input comes row by row."""
        return self.input == ROWS

    @property
    def words(self) -> tuple[str, ...]:
        """The command line's words for what is not the default."""
        chosen = {"--arena": self.arena, "--input": self.input, "--output": self.output}
        external = (word for option, choice in chosen.items() if choice == EXTERNAL for word in (option, choice))
        return (*external, *(["--input-rows"] if self.by_rows else []))
