"""The beginning of a conversation with a board that may still be starting: its port comes, goes, and comes again."""

from __future__ import annotations

import time
from collections.abc import Callable

from tinygen.errors import LinkLost, NoAnswer
from tinygen.link import Link
from tinygen.manifest import Manifest
from tinygen.session import Session

_PAUSE_SECONDS = 0.2


def greet(
    find: Callable[[], str], open_port: Callable[[str], Link], manifest: Manifest, seconds: float
) -> tuple[Link, Session]:
    """An open link to the board of `manifest`, and the conversation that has begun.

    `find` says which port it is at the moment, `open_port` opens it. For `seconds` it is tried again when the port is
    not there, cannot be opened yet, or goes away before the board has said what it is. Raises like those two, and
    WrongModel.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _greet_once(open_port(find()), manifest)
        except (LinkLost, NoAnswer):
            if time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


def _greet_once(link: Link, manifest: Manifest) -> tuple[Link, Session]:
    session = Session(link)
    try:
        session.check_model(manifest)
    except BaseException:
        link.close()
        raise
    return link, session
