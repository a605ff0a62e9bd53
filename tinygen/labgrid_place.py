"""Boards that a labgrid coordinator lends out: a place is acquired, its serial port used, and the place given back."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from tinygen.errors import NoAnswer, ToolMissing

SCHEME = "labgrid://"
_COORDINATOR = "127.0.0.1:20408"
_ANSWER_SECONDS = 15.0
_PORT_SECONDS = 10.0
_POLL_SECONDS = 0.1
_SCHEMES = {"raw": "socket"}
"""Of a port's protocol; without one it is RFC 2217."""

_T = TypeVar("_T")


@contextlib.contextmanager
def resolved(port: str | None) -> Iterator[str | None]:
    """What opens a port: of ``labgrid://PLACE`` or ``labgrid://HOST:PORT/PLACE``, pyserial's URL of the place's port.

    The place is acquired meanwhile; one that the user holds already stays acquired. Without a host the coordinator is
    that of LG_COORDINATOR, else 127.0.0.1:20408. Any other port is what it is. Raises ToolMissing without the extra
    labgrid, NoAnswer for a coordinator that does not answer, and a place that is not there, not free, or without a
    serial port.
    """
    if port is None or not port.startswith(SCHEME):
        yield port
        return
    host, _, place = port.removeprefix(SCHEME).rpartition("/")
    address = host or os.environ.get("LG_COORDINATOR", _COORDINATOR)
    url, is_ours = _asked(address, place, _acquired)
    try:
        yield url
    finally:
        if is_ours:
            _asked(address, place, _released)


def _asked(address: str, place: str, do: Callable[[Any, str], Awaitable[_T]]) -> _T:
    """A short conversation with the coordinator about a place."""
    try:
        from labgrid.remote import client
    except ImportError:
        raise ToolMissing(
            f"{SCHEME}{place}: places of a labgrid coordinator need labgrid",
            "Install it: pip install 'tinygen[labgrid]'",
        ) from None
    # It prints what it does, and logs what it raises besides.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            return asyncio.run(_conversation(client, address, place, do))
        except (client.Error, OSError, TimeoutError) as error:
            text = " ".join(map(str, error.args)) or said.getvalue().strip() or f"no answer in {_ANSWER_SECONDS:g} s"
            raise NoAnswer(
                f"{SCHEME}{place}, coordinator {address}: {text}",
                f"Look at it: labgrid-client -x {address} -p {place} show",
            ) from None


async def _conversation(client: Any, address: str, place: str, do: Callable[[Any, str], Awaitable[_T]]) -> _T:
    session = client.ClientSession(
        address, asyncio.get_running_loop(), args=Namespace(place=place, allow_unmatched=False, kick=False)
    )
    try:
        await asyncio.wait_for(session.start(), _ANSWER_SECONDS)
        try:
            return await asyncio.wait_for(do(session, place), _ANSWER_SECONDS + _PORT_SECONDS)
        finally:
            await session.stop()
    finally:
        await session.close()


async def _acquired(session: Any, place: str) -> tuple[str, bool]:
    """The URL of a place's serial port, and whether the place was acquired for it."""
    found = session.get_place(place)
    mine = f"{session.gethostname()}/{session.getuser()}"
    is_ours = found.acquired != mine
    if is_ours:
        await session.acquire()
    try:
        return await _serial_url(session, found), is_ours
    except BaseException:
        if is_ours:
            await session.release()
        raise


async def _released(session: Any, place: str) -> None:
    if session.get_place(place).acquired:
        await session.release()


async def _serial_url(session: Any, place: Any) -> str:
    """Once its exporter serves the port, which it may begin to do now."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PORT_SECONDS
    while True:
        resources = session.get_target_resources(place)
        ports = [entry for (_, kind), entry in resources.items() if kind == "NetworkSerialPort"]
        for entry in ports:
            if entry.avail and entry.args.get("port"):
                scheme = _SCHEMES.get(entry.args.get("protocol"), "rfc2217")
                return f"{scheme}://{entry.args['host']}:{entry.args['port']}"
        if not ports:
            listed = ", ".join(kind for _, kind in resources) or "nothing"
            raise NoAnswer(
                f"{SCHEME}{place.name} has no serial port: it has {listed}", "Add a match for its NetworkSerialPort."
            )
        if loop.time() >= deadline:
            raise NoAnswer(
                f"{SCHEME}{place.name}: its exporter did not serve the serial port in {_PORT_SECONDS:g} s",
                "Is ser2net installed there, and the board plugged in?",
            )
        await asyncio.sleep(_POLL_SECONDS)
