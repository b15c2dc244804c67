"""Kedro's own datasets write whole files or none: fsspec opens local files for them here."""

from __future__ import annotations

import io
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from dcr.files import atomic_path


def write_atomically() -> None:
    """Have every local file that fsspec opens for writing take its name only when it is whole."""
    for protocol in AtomicFileSystem.protocol:
        fsspec.register_implementation(protocol, AtomicFileSystem, clobber=True)


class AtomicFileSystem(LocalFileSystem):  # type: ignore[misc]  # fsspec ships no types
    """Local files as fsspec knows them; one of mode ``w`` replaces the old one when it is closed.

    Where the block of its ``with`` statement fails, the old file stays.
    """

    def open(self, path: str, mode: str = "rb", *arguments: Any, **options: Any) -> Any:
        """Open the file at a local ``path`` in a ``mode`` of Python's `open`."""
        if "b" in mode or "w" not in mode:
            return super().open(path, mode, *arguments, **options)
        text = {
            name: options.pop(name) for name in ("encoding", "errors", "newline") if name in options
        }
        return _AtomicText(
            self.open(path, mode.replace("t", "") + "b", *arguments, **options), **text
        )

    def _open(self, path: str, mode: str = "rb", *arguments: Any, **options: Any) -> Any:
        if "w" not in mode or not options.get("autocommit", True):
            return super()._open(path, mode, *arguments, **options)
        return _AtomicFile(self._strip_protocol(path))


class _AtomicFile(io.BufferedWriter):
    """Bytes on their way to a file that is replaced at the end."""

    def __init__(self, target: str) -> None:
        self._replacement = atomic_path(target)
        super().__init__(io.FileIO(self._replacement.__enter__(), "wb"))

    def close(self) -> None:
        self._end(None, None, None)

    def _end(self, *error: Any) -> None:
        """Close the temporary file; it takes its name unless there is an error, which goes on."""
        if not self.closed:
            super().close()
            self._replacement.__exit__(*error)

    def __exit__(self, *error: Any) -> None:
        self._end(*error)


class _AtomicText(io.TextIOWrapper):
    def __init__(self, file: _AtomicFile, **options: Any) -> None:
        super().__init__(file, **options)
        self._file = file

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is None:
            self.close()
        else:
            self._file.__exit__(kind, *rest)
