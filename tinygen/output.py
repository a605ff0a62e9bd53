"""Writing an output folder: all of it or nothing, and never over what somebody else wrote."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from tinygen import manifest, staging, unfinished
from tinygen.errors import OutputError

_LEAVE = "Choose another folder with -o, or move what is there away."


def write(files: Mapping[str, bytes], out: Path) -> None:
    """Write `files` (paths relative to `out`, forward slashes) so that `out` is a complete new build or untouched.

    Files of an earlier build that are no longer generated are removed; all else in the folder stays. A program that is
    killed while it replaces files of an earlier build leaves a folder without a manifest, which the next one completes.
    One that is killed before leaves a hidden folder beside `out`, which the next one removes.
    Raises OutputError when the folder holds something that tinygen did not write, when a generated file was edited
    since, or when the disk does not take the files.
    """
    earlier = _earlier_files(out)
    _refuse_foreign(out, files, earlier)
    with _draft(out) as draft:
        try:
            for path, data in files.items():
                target = draft / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        except OSError as error:
            raise OutputError(f"cannot write {out}: {error.strerror or error}", _space_hint(error)) from None
        try:
            _move_in(draft, out, files, earlier)
        except OSError as error:
            raise OutputError(
                f"cannot write {out}: {error.strerror or error}", "Check the folder's permissions, and build again."
            ) from None


_SEAL = b"<!-- Written by tinygen. SHA-256 of what is above: "


def sealed(text: str) -> bytes:
    """The content of an XML file, with a last line that tells whether somebody changed it since."""
    data = text.encode()
    return data + _SEAL + hashlib.sha256(data).hexdigest().encode() + b" -->\n"


_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_SEAL = b"tEXttinygen SHA-256\0"


def sealed_png(data: bytes) -> bytes:
    """The same for a PNG file: a chunk of text, the last one before its end."""
    seal = _PNG_SEAL + hashlib.sha256(data).hexdigest().encode()
    chunk = struct.pack(">I", len(seal) - 4) + seal + struct.pack(">I", zlib.crc32(seal))
    return data.removesuffix(_PNG_END) + chunk + _PNG_END


def expect_replaceable(path: Path) -> None:
    """Raises OutputError where something is that tinygen did not write, or that was changed since."""
    try:
        if path.is_dir():
            raise OutputError(f"{path} is a folder", "Name a file in it.")
        if path.exists() and not _is_sealed(path.read_bytes()):
            raise OutputError(
                f"{path} was not written by tinygen, or was changed since",
                "Choose another file, or move what is there away.",
            )
        if not path.parent.is_dir():
            raise OutputError(f"there is no folder {path.parent}", "Make it first, or choose another file.")
    except OSError as error:
        raise OutputError(f"cannot look at {path}: {error.strerror}", "Choose another file.") from None


def write_sealed(data: bytes, path: Path) -> None:
    """Write a sealed file, all of it or nothing, in the place of an earlier one.

    Raises OutputError where `expect_replaceable` does, and when the disk does not take the file.
    """
    expect_replaceable(path)
    _replace(data, path)


def expect_free(path: Path, force: bool) -> None:
    """Raises OutputError where a file is already and is not to be replaced, or where none can be."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder", "Name a file in it with -o.")
    if path.exists() and not force:
        raise OutputError(f"{path} is there already", "Add --force to replace it, or choose another with -o.")
    if not path.parent.is_dir():
        raise OutputError(f"there is no folder {path.parent}", "Make it first, or choose another file with -o.")


def write_file(data: bytes, path: Path, force: bool) -> None:
    """Write one file, all of it or nothing; over another one only by `force`, or where it is the same.

    Raises OutputError where `expect_free` does, and when the disk does not take the file.
    """
    if path.is_file() and path.read_bytes() == data:
        return
    expect_free(path, force)
    _replace(data, path)


def write_package(files: Mapping[str, bytes], folder: Path, force: bool) -> None:
    """Write a folder as `write` does; over an earlier one only by `force`, or where it is the same."""
    try:
        is_other = folder.is_dir() and any(folder.iterdir()) and not _holds(folder, files)
    except OSError as error:
        raise OutputError(f"cannot look into {folder}: {error.strerror}", _LEAVE) from None
    if is_other and not force:
        raise OutputError(f"{folder} is not empty", "Add --force to replace a package, or choose another with -o.")
    write(files, folder)


def _holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Whether all of the files are there, as they would be written."""
    return all((folder / path).is_file() and (folder / path).read_bytes() == data for path, data in files.items())


def _replace(data: bytes, path: Path) -> None:
    try:
        with staging.file_beside(path) as draft:
            draft.write_bytes(data)
            draft.chmod(0o666 & ~_umask())
            draft.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", _space_hint(error)) from None


def _is_sealed(data: bytes) -> bool:
    if data.endswith(_PNG_END):
        picture, _, seal = data.rpartition(_PNG_SEAL)
        return bool(seal) and sealed_png(picture[:-4] + _PNG_END) == data
    content, seal, _ = data.rpartition(_SEAL)
    return bool(seal) and sealed(content.decode(errors="replace")) == data


def _earlier_files(out: Path) -> unfinished.Hashes:
    """What an earlier build wrote, or began to write."""
    try:
        if not out.exists():
            return {}
        if not out.is_dir():
            raise OutputError(f"{out} exists and is not a folder", _LEAVE)
        if not any(out.iterdir()):
            return {}
    except OSError as error:
        raise OutputError(f"cannot look into {out}: {error.strerror}", _LEAVE) from None
    try:
        files = unfinished.read(out)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot read {out / unfinished.FILE_NAME}: {error}", _LEAVE) from None
    if not files:
        if not (out / manifest.FILE_NAME).is_file():
            raise OutputError(f"{out} is not empty and was not written by tinygen", _LEAVE)
        files = {path: frozenset({known}) for path, known in manifest.written_files(out).items()}
    for path in files:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            raise OutputError(f"{out} lists {path!r} as its own, which lies outside of the folder", _LEAVE)
    return files


def _refuse_foreign(out: Path, files: Mapping[str, bytes], earlier: unfinished.Hashes) -> None:
    edited = []
    for path in sorted({*files, *earlier}):
        target = out / path
        if path == manifest.FILE_NAME or not target.exists():
            continue
        try:
            found = _hash(target.read_bytes())
        except OSError:
            found = ""
        same_as_new = path in files and found == _hash(files[path])
        if found not in earlier.get(path, ()) and not same_as_new:
            edited.append(path)
    if edited:
        listed = ", ".join(edited[:5]) + (f" and {len(edited) - 5} more" if len(edited) > 5 else "")
        raise OutputError(f"{out} holds files that were changed since tinygen wrote them: {listed}", _LEAVE)


@contextlib.contextmanager
def _draft(out: Path) -> Iterator[Path]:
    """A folder beside `out`, on the same disk, so that what is complete can be moved in."""
    created = [parent for parent in (out.parent, *out.parent.parents) if not parent.exists()]
    try:
        with contextlib.ExitStack() as held:
            try:
                out.parent.mkdir(parents=True, exist_ok=True)
                draft = held.enter_context(staging.folder_beside(out))
            except OSError as error:
                raise OutputError(f"cannot write beside {out}: {error.strerror}", _LEAVE) from None
            yield draft
    finally:
        if not out.exists():
            for parent in created:
                with contextlib.suppress(OSError):
                    parent.rmdir()


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _move_in(draft: Path, out: Path, files: Mapping[str, bytes], earlier: unfinished.Hashes) -> None:
    if not out.exists():
        draft.chmod(0o777 & ~_umask())
        draft.rename(out)
        return
    hashes = {path: earlier.get(path, frozenset()) for path in {*earlier, *files}}
    hashes |= {path: hashes[path] | {_hash(data)} for path, data in files.items()}
    unfinished.begin(out, draft, hashes, out / manifest.FILE_NAME)
    # The manifest last: it vouches for the rest.
    for path in sorted(files, key=lambda path: path == manifest.FILE_NAME):
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        (draft / path).replace(target)
    _remove_stale(out, set(earlier) - set(files))
    unfinished.finish(out)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _remove_stale(out: Path, stale: set[str]) -> None:
    for path in sorted(stale):
        target = out / path
        with contextlib.suppress(OSError):
            target.unlink()
            for parent in target.relative_to(out).parents:
                (out / parent).rmdir()  # stops at the first folder that is not empty


def _space_hint(error: OSError) -> str:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full: free some space, then run the command again. Nothing was changed."
    return "Check the folder's permissions. Nothing was changed."
