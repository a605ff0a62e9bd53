"""A read-only FlatBuffers reader that trusts nothing it reads.

A FlatBuffer is a graph of tables joined by byte offsets. A table begins with the signed distance to its vtable, and
the vtable says where in the table each field lies, so that absent fields cost nothing and take their defaults. The
caller walks the graph by a schema of its own: it names each field with the field's id.

Every offset and length is checked before it is followed, and FlatbufferError says what was wrong, where in the schema
and at which byte. Alignment is not required: scalars are unpacked and vectors copied. A hostile file could point many
offsets at one object and so have it read again and again; the work is therefore bounded by the size of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal, NoReturn

import numpy as np

IntegerKind = Literal["int8", "uint8", "int32", "uint32", "uint64"]

_INTEGERS: dict[IntegerKind, struct.Struct] = {
    "int8": struct.Struct("<b"),
    "uint8": struct.Struct("<B"),
    "int32": struct.Struct("<i"),
    "uint32": struct.Struct("<I"),
    "uint64": struct.Struct("<Q"),
}
_FLOAT32 = struct.Struct("<f")
_UINT16 = struct.Struct("<H")
_INT32 = struct.Struct("<i")
_UINT32 = struct.Struct("<I")
_VTABLE_HEAD = struct.Struct("<HH")

# With the offset that leads to it, a table takes at least 8 bytes. Real tables are larger, and vectors are read once
# unless a writer shares them (names and shapes, at times), so that no real file comes near either limit.
_BYTES_PER_TABLE = 8
_COPIES_OF_FILE = 8

_ROOT = "root table"  # its path in messages; the paths of its fields begin with their own names


class FlatbufferError(Exception):
    """The bytes break the format. Importers turn it into InvalidModel; it never leaves them."""


class _File:
    """The bytes, and how much more work they may cause."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self._tables_left = self.size // _BYTES_PER_TABLE
        self._bytes_left = self.size * _COPIES_OF_FILE

    def fail(self, path: str, what: str, position: int) -> NoReturn:
        """Report a broken rule."""
        raise FlatbufferError(f"{path}: {what}, at byte {position} of {self.size}")

    def need(self, path: str, what: str, position: int, size: int) -> None:
        """Check that an object lies within the file."""
        if position < 0 or position + size > self.size:
            self.fail(path, f"{what} of {size} bytes lies outside the file", position)

    def count_table(self, path: str, position: int) -> None:
        """Account for reading one table."""
        self._tables_left -= 1
        if self._tables_left < 0:
            limit = self.size // _BYTES_PER_TABLE
            self.fail(path, f"more than {limit} tables, so the file holds tables that share their bytes", position)

    def count_bytes(self, path: str, position: int, size: int) -> None:
        """Account for copying `size` bytes out of the file."""
        self._bytes_left -= size
        if self._bytes_left < 0:
            limit = self.size * _COPIES_OF_FILE
            self.fail(path, f"more than {limit} bytes of data, so the file holds data that share their bytes", position)

    def copy(self, path: str, position: int, dtype: str, count: int) -> np.ndarray:
        """A read-only array of its own, hence aligned. The caller has checked the bounds."""
        if count == 0:
            array = np.empty(0, dtype)
        else:
            self.count_bytes(path, position, count * np.dtype(dtype).itemsize)
            array = np.frombuffer(self.data, dtype, count, position).copy()
        array.setflags(write=False)
        return array


class Table:
    """One table. `path` says where in the schema it was found: ``subgraphs[0].tensors[3]``."""

    __slots__ = ("_file", "_position", "_size", "_vtable", "_vtable_size", "path")

    def __init__(self, file: _File, position: int, path: str) -> None:
        file.count_table(path, position)
        file.need(path, "table", position, 4)
        vtable = position - _INT32.unpack_from(file.data, position)[0]
        file.need(path, "vtable", vtable, 4)
        vtable_size, size = _VTABLE_HEAD.unpack_from(file.data, vtable)
        if vtable_size < 4 or vtable_size % 2:
            file.fail(path, f"vtable size {vtable_size} is not an even number of at least 4", vtable)
        if size < 4:
            file.fail(path, f"table size {size} is less than 4", vtable + 2)
        file.need(path, "vtable", vtable, vtable_size)
        file.need(path, "table", position, size)
        self.path = path
        self._file = file
        self._position = position
        self._size: int = size
        self._vtable: int = vtable
        self._vtable_size: int = vtable_size

    def integer(self, name: str, field: int, kind: IntegerKind = "int32", default: int = 0) -> int:
        """An integer field, or its default."""
        unpack = _INTEGERS[kind]
        at = self._find(name, field, unpack.size)
        return default if at is None else int(unpack.unpack_from(self._file.data, at)[0])

    def boolean(self, name: str, field: int, default: bool = False) -> bool:
        """A bool field, or its default."""
        return self.integer(name, field, "uint8", int(default)) != 0

    def float32(self, name: str, field: int, default: float = 0.0) -> float:
        """A float field, or its default."""
        at = self._find(name, field, 4)
        return default if at is None else float(_FLOAT32.unpack_from(self._file.data, at)[0])

    def string(self, name: str, field: int) -> str | None:
        """A string, None if absent. Bytes that are not UTF-8 become U+FFFD."""
        found = self._vector(name, field, 1)
        if found is None:
            return None
        at, count = found
        path, file = self._child(name), self._file
        file.need(path, "string with its terminating zero", at, count + 1)
        if file.data[at + count]:
            file.fail(path, "string without terminating zero", at)
        file.count_bytes(path, at, count)
        return file.data[at : at + count].decode("utf-8", errors="replace")

    def vector(self, name: str, field: int, dtype: str) -> np.ndarray | None:
        """A vector of scalars as a read-only array, None if absent. `dtype` is numpy's name, e.g. ``<i4``."""
        found = self._vector(name, field, np.dtype(dtype).itemsize)
        if found is None:
            return None
        return self._file.copy(self._child(name), found[0], dtype, found[1])

    def table(self, name: str, field: int) -> Table | None:
        """A table, None if absent."""
        at = self._follow(name, field)
        return None if at is None else Table(self._file, at, self._child(name))

    def tables(self, name: str, field: int) -> Iterator[Table]:
        """The tables of a vector, none if absent."""
        found = self._vector(name, field, 4)
        if found is None:
            return
        start, count = found
        child, data = self._child(name), self._file.data
        for index in range(count):
            at = start + 4 * index
            yield Table(self._file, at + _UINT32.unpack_from(data, at)[0], f"{child}[{index}]")

    def union(self, name: str, field: int) -> tuple[int, Table | None]:
        """A union as (type, table). `field` is the table's id; the type's is the one before it, and 0 means none."""
        kind = self.integer(f"{name}_type", field - 1, "uint8")
        return kind, self.table(name, field) if kind else None

    def outside(self, name: str, offset: int, size: int) -> np.ndarray:
        """Bytes of the file that a schema addresses from the file's beginning, as a read-only uint8 array."""
        path = self._child(name)
        self._file.need(path, "data", offset, size)
        return self._file.copy(path, offset, "u1", size)

    def spend(self, name: str, size: int) -> None:
        """Account for `size` bytes of work that the caller does for a field, as this class does for what it copies."""
        self._file.count_bytes(self._child(name), self._position, size)

    def _child(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path != _ROOT else name

    def _find(self, name: str, field: int, size: int) -> int | None:
        """Where in the file a field's value lies, None if it is absent."""
        slot = 4 + 2 * field
        if slot + 2 > self._vtable_size:
            return None
        offset: int = _UINT16.unpack_from(self._file.data, self._vtable + slot)[0]
        if offset == 0:
            return None
        if offset < 4 or offset + size > self._size:
            what = f"field of {size} bytes at offset {offset} does not fit its table of {self._size} bytes"
            self._file.fail(self._child(name), what, self._vtable + slot)
        return self._position + offset

    def _follow(self, name: str, field: int) -> int | None:
        """Where an offset field points to, None if it is absent. The target is not yet checked."""
        at = self._find(name, field, 4)
        return None if at is None else at + int(_UINT32.unpack_from(self._file.data, at)[0])

    def _vector(self, name: str, field: int, item_size: int) -> tuple[int, int] | None:
        """Where a vector's items begin and how many there are, all within the file; None if it is absent."""
        at = self._follow(name, field)
        if at is None:
            return None
        path, file = self._child(name), self._file
        file.need(path, "length of a vector", at, 4)
        count: int = _UINT32.unpack_from(file.data, at)[0]
        if at + 4 + count * item_size > file.size:
            what = f"vector of {count} items ({count * item_size} bytes) runs past the end of the file"
            file.fail(path, what, at)
        return at + 4, count


def root_table(data: bytes) -> Table:
    """The table at which a FlatBuffer begins."""
    file = _File(data)
    file.need(_ROOT, "offset of the root table", 0, 4)
    return Table(file, _UINT32.unpack_from(data, 0)[0], _ROOT)


def identifier(data: bytes) -> bytes:
    """The four bytes that say which schema a FlatBuffer follows; fewer if it is too short to have them."""
    return data[4:8]
