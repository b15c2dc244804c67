"""Text and images of a benchmark set, read without trusting them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from dcr.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")


def decode_image(data: bytes, where: str) -> Image.Image:
    """Decode a JPEG, PNG or WebP image to RGB; a broken one is a UserError that names ``where``."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"the image of {where} cannot be decoded ({error}): replace or remove it") from error


def read_text(path: Path) -> str:
    """Return the UTF-8 text of a file, without its byte-order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: a benchmark set of this layout needs it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text: {error}") from error


def read_lines(path: Path) -> list[str]:
    """Return the non-empty lines of a text file, of which there must be one."""
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise UserError(f"{path} is empty: it must hold one entry a line")
    return lines
