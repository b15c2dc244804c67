"""Files of a benchmark set, local or behind a URL, read without trusting them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from dcr.data.remote import Tree, is_absent, open_file
from dcr.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
_CHUNK = 1 << 20


def decode_image(data: bytes, where: str) -> Image.Image:
    """Decode an image to RGB, see `dcr.data.decoding`.

    Args:
        data: the encoded image, of any format that `dcr.data.decoding` reads.
        where: words that say which image it is, for the error.

    Raises:
        UserError: it is broken.
    """
    from dcr.data.decoding import decode_rgb
    from dcr.data.developing import DecodingError

    try:
        return decode_rgb(data)
    except DecodingError as error:
        raise UserError(
            f"the image of {where} cannot be decoded ({error}): replace or remove it"
        ) from error


def split_lines(text: str, keep_blank: bool = False) -> list[str]:
    """Return the lines; only a line feed ends one, as for CLIP_benchmark.

    U+2028 or a form feed does not.

    Args:
        text: the lines. keep_blank: also return blank lines, as "", but for those at the end.
    """
    lines = [line.strip() for line in text.rstrip().split("\n")]
    return lines if keep_blank else [line for line in lines if line]


class Folder:
    """A folder, by a local path or any fsspec URL, whose files are named relative to it.

    At a URL files are fetched into the cache of remote ones, and what fails is asked for again; see
    `dcr.data.remote`.

    In all methods ``name`` is the path of a file or folder relative to this one, with slashes.

    Raises UserError where a file is missing or cannot be read.

    Args:
        path: of the folder; what holds ``://`` is a URL, opened by fsspec.
    """

    def __init__(self, path: str) -> None:
        self.path = path.rstrip("/")
        try:
            self._tree = Tree(self.path)
        except UserError:
            raise
        except (ValueError, ImportError, OSError) as error:
            raise UserError(f"{path} cannot be opened: {error}") from error

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_local(self) -> bool:
        """Whether this is a folder of this machine, which can be listed."""
        return "://" not in self.path

    def folders(self) -> list[str]:
        """Return the sorted names of the folders in a local folder."""
        return sorted(entry.name for entry in os.scandir(self.path) if entry.is_dir())

    def files(self, name: str, extension: str) -> list[str]:
        """Return the sorted paths of the files that end in ``.<extension>`` in a local folder.

        Args:
            name: of a folder in this one, "" for this one; none is a folder without files.
            extension: in lower case, without its dot.
        """
        place = os.path.join(self.path, name)
        if not os.path.isdir(place):
            return []
        found = [entry.name for entry in os.scandir(place) if entry.is_file()]
        return [
            f"{name}/{file}" if name else file
            for file in sorted(found)
            if file.lower().endswith(f".{extension}") and not file.startswith(".")
        ]

    def place(self, name: str) -> str:
        """Return the path of the file ``name``, or of the folder if it is empty, for messages."""
        return f"{self.path}/{name}" if name else self.path

    def has_file(self, name: str) -> bool:
        """Tell whether there is a file ``name``."""
        return self._ask(self._tree.is_file, name)

    def has_folder(self, name: str = "") -> bool:
        """Tell whether there is a folder ``name``, or this one by default.

        Over http no folder can be seen.
        """
        return self._ask(self._tree.is_folder, name)

    def _ask(self, question: Callable[[str], bool], name: str) -> bool:
        try:
            root = self._tree.root
            return question(f"{root}/{name}" if name else root)
        except UserError:
            raise
        except (OSError, ValueError) as error:
            raise UserError(f"{self.place(name)} cannot be reached: {error}") from error

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open the file ``name`` for reading bytes."""
        try:
            file = open_file(self.place(name), whole=True)
        except (UserError, FileNotFoundError) as error:
            if not is_absent(error.__cause__ or error):
                raise
            raise UserError(
                f"{self.place(name)} is missing: a benchmark set of this layout needs it"
            ) from error
        except (OSError, ValueError) as error:
            raise UserError(f"{self.place(name)} cannot be opened: {error}") from error
        with file:
            yield file

    def sha256(self, name: str) -> str:
        """Return the hex sha256 of the bytes of the file ``name``, read in chunks."""
        digest = hashlib.sha256()
        with self.open(name) as file:
            try:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
            except OSError as error:
                raise UserError(f"{self.place(name)} cannot be read: {error}") from error
        return digest.hexdigest()

    def read_bytes(self, name: str, max_bytes: int = -1) -> bytes:
        """Return the bytes of the file ``name``.

        Args:
            name: of the file.
            max_bytes: that it may hold; more are refused, and are not read. -1 for any number.
        """
        with self.open(name) as file:
            try:
                content = file.read(max_bytes + 1 if max_bytes >= 0 else -1)
            except OSError as error:
                raise UserError(f"{self.place(name)} cannot be read: {error}") from error
        if 0 <= max_bytes < len(content):
            raise UserError(
                f"{self.place(name)} is too large: a file of its kind has at most"
                f" {max_bytes >> 20} MiB"
            )
        return content

    def read_text(self, name: str, max_bytes: int = -1) -> str:
        """Return the UTF-8 text of the file ``name``, without its byte-order mark.

        ``max_bytes`` is as in `read_bytes`.
        """
        try:
            return self.read_bytes(name, max_bytes).decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise UserError(f"{self.place(name)} cannot be read as UTF-8 text: {error}") from error

    def read_lines(self, name: str, keep_blank: bool = False) -> list[str]:
        """Return the lines of the file ``name``, of which there must be one.

        ``keep_blank`` is as in `split_lines`.
        """
        lines = split_lines(self.read_text(name), keep_blank)
        if not any(lines):
            raise UserError(f"{self.place(name)} is empty: it must hold one entry a line")
        return lines
