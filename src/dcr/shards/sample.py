"""The sample, and the rule that makes a sample of a tar's members."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

# Members that are images to WebDataset's users; the second row validation recognises but does not decode.
IMAGE_EXTENSIONS = frozenset(
    {
        *("jpg", "jpeg", "jfif", "png", "webp", "bmp", "gif"),
        *("tif", "tiff", "avif", "heic", "jp2", "jxl", "ppm"),
    }
)


@dataclass(frozen=True)
class Sample:
    """One image with its caption and metadata.

    ``image`` holds the encoded bytes; ``offset`` is where the sample's first member header starts in its tar;
    ``problems`` names what reading it found wrong, in the words of `dcr.validation.reasons`.
    """

    key: str
    image: bytes | None
    image_extension: str | None
    caption: str | None
    metadata: dict[str, Any] = field(default_factory=dict)
    offset: int = 0
    problems: tuple[str, ...] = ()


def split_name(name: str) -> tuple[str, str] | None:
    """Return (key, lower-case extension) of a member's name, or None for a name that belongs to no sample.

    The name is cut at the first dot of its last part, which is WebDataset's rule: ``a.b/c.d.jpg`` has the key
    ``a.b/c`` and the extension ``d.jpg``.
    """
    match = re.fullmatch(r"((?:.*/)?[^./]+)\.([^/]+)", name, flags=re.DOTALL)
    if match is None or name.startswith("__"):  # WebDataset keeps names like __meta__ for itself
        return None
    return match[1], match[2].lower()
