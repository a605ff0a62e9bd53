"""Which front end a model hears with: what its user chooses."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.audio import FrontEnd, load
from tinygen.audio.files import path_of
from tinygen.errors import UsageError
from tinygen.listening.detector import DetectorWish


@dataclass(frozen=True)
class Hearing:
    """A front end, and how often there is a result. Raises UsageError for a hop that cannot be."""

    source: str
    """The front end's name, or its file as it was given."""
    text: bytes
    """Of its file."""
    front_end: FrontEnd
    hop: int | None = None
    """New frames for each result; None: what the model takes, or, of one that takes whole windows, one."""
    detector: DetectorWish | None = None
    """From results to words."""

    def __post_init__(self) -> None:
        if self.hop is not None and self.hop < 1:
            raise UsageError(f"a hop of {self.hop} frames is no hop", "Choose --hop 1 or more.")

    @property
    def words(self) -> tuple[str, ...]:
        """The command line's words."""
        hop = () if self.hop is None else ("--hop", str(self.hop))
        return ("--frontend", self.source, *hop, *(() if self.detector is None else self.detector.words))


def hear_with(source: str, hop: int | None = None, detector: DetectorWish | None = None) -> Hearing:
    """With the front end of that name, or in that TOML file. Raises FrontEndError and UsageError."""
    front_end = load(source)
    return Hearing(source, path_of(source).read_bytes(), front_end, hop, detector)
