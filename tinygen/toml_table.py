"""TOML tables that are read key by key."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tinygen.errors import TinygenError


def known(kind: str, names: Collection[str], wanted: str) -> str:
    """What there is, in words, and which of it somebody may have meant."""
    close = difflib.get_close_matches(wanted.lower(), names, n=1, cutoff=0.5)
    return (f"Did you mean {close[0]}? " if close else "") + f"Known {kind}: {', '.join(sorted(names)) or 'none'}."


@lru_cache
def _parsed(text: str) -> Mapping[str, Any]:
    """The outermost table, which nobody changes: boards and cores are asked for again and again."""
    return tomllib.loads(text)


class Table:
    """A TOML table that is read key by key, so that wrong values and keys nobody knows are found."""

    def __init__(self, path: Path, prefix: str, values: Mapping[str, Any], error: type[TinygenError]) -> None:
        self._path = path
        self._error = error
        self._prefix = prefix
        self._values = values
        self._read: set[str] = set()

    @classmethod
    def read(cls, path: Path, error: type[TinygenError]) -> Table:
        """A file's outermost table; whatever is wrong with the file is raised as `error`."""
        try:
            return cls(path, "", _parsed(path.read_text(encoding="utf-8")), error)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as wrong:
            raise error(f"cannot read {path}: {wrong}") from None

    def keys(self) -> set[str]:
        """What the table has, known or not."""
        return set(self._values)

    def finish(self) -> None:
        """Raise the error for keys that were never asked for."""
        for key in self._values:
            if key not in self._read:
                raise self._error(
                    f"{self._path}: unknown key {self._prefix}{key}",
                    known("keys here", self._read, key),
                )

    def text(
        self,
        key: str,
        *,
        optional: bool = False,
        default: str | None = None,
        pattern: re.Pattern[str] | None = None,
        form: str = "a name of letters, digits, '.', '_' and '-'",
    ) -> str:
        """Text, not empty where it is there. Optional: empty where it is not there.

        Given a pattern, it matches that, which `form` describes.
        """
        if default is not None and key not in self._values:
            self._read.add(key)
            return default
        value = self._get(key, "text", "" if optional else None)
        if not isinstance(value, str) or not (value or optional):
            raise self._wrong(key, value, "text in quotes, not empty")
        if pattern is not None and not pattern.fullmatch(value):
            raise self._wrong(key, value, form)
        return value

    def flag(self, key: str) -> bool:
        """True or false; false where it is not there."""
        value = self._get(key, "true or false", False)
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def choice(self, key: str, allowed: Collection[str], default: str | None = None) -> str:
        """One of the allowed texts; the default, given one, where it is not there."""
        value = self._get(key, f"one of {', '.join(sorted(allowed))}", default)
        if value not in allowed:
            raise self._wrong(key, value, f"one of {', '.join(sorted(allowed))}")
        return str(value)

    def texts(
        self,
        key: str,
        allowed: Collection[str] | None = None,
        *,
        pattern: re.Pattern[str] | None = None,
        form: str = "texts",
        default: tuple[str, ...] | None = None,
    ) -> tuple[str, ...]:
        """A list of texts, none empty; of the allowed ones, and of the pattern's, which `form` describes."""
        expected = f"a list of {form}" if allowed is None else f"a list from {', '.join(sorted(allowed))}"
        value = self._get(key, expected, None if default is None else list(default))
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self._wrong(key, value, expected)
        for item in value:
            if (allowed is not None and item not in allowed) or (pattern is not None and not pattern.fullmatch(item)):
                raise self._wrong(key, item, expected)
        return tuple(value)

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number, both limits allowed; the default, given one, where it is not there."""
        expected = f"a whole number from {low} to {high}"
        value = self._get(key, expected, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(key, value, expected)
        return value

    def number(self, key: str) -> float:
        """Any number that is one, whole or not."""
        value = self._get(key, "a number")
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self._wrong(key, value, "a number")
        return value

    def numbers(self, key: str, allowed: Collection[str]) -> Mapping[str, float]:
        """A table of numbers, none negative, under names from those allowed."""
        expected = "a table of numbers, none negative"
        value = self._get(key, expected)
        if not isinstance(value, dict):
            raise self._wrong(key, value, expected)
        for name, number in value.items():
            if name not in allowed:
                raise self._error(
                    f"{self._path}: unknown key {self._prefix}{key}.{name}", known("keys here", allowed, name)
                )
            if not isinstance(number, int | float) or isinstance(number, bool) or not number >= 0:
                raise self._wrong(f"{key}.{name}", number, "a number, not negative")
        return MappingProxyType({name: float(number) for name, number in value.items()})

    def unusable(self, key: str, reason: str) -> TinygenError:
        """The error of a value that is what it should be by itself."""
        return self._error(f"{self._path}: {self._prefix}{key}: {reason}")

    def table(self, key: str) -> Table:
        """A table in this one."""
        value = self._get(key, "a table")
        if not isinstance(value, dict):
            raise self._wrong(key, value, "a table")
        return Table(self._path, f"{self._prefix}{key}.", value, self._error)

    def optional_table(self, key: str) -> Table | None:
        """The same; None where it is not there."""
        return self.table(key) if key in self._values else None

    def _get(self, key: str, expected: str, default: object = None) -> Any:
        self._read.add(key)
        if key in self._values:
            return self._values[key]
        if default is None:
            raise self._error(f"{self._path}: {self._prefix}{key} is missing", f"It is {expected}.")
        return default

    def _wrong(self, key: str, value: object, expected: str) -> TinygenError:
        return self._error(f"{self._path}: {self._prefix}{key} = {value!r}", f"Allowed: {expected}.")
