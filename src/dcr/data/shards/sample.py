"""The sample, and the rule that makes a sample of a tar's members."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

# Members that are images to WebDataset's users; the second row validation recognises but does not
# decode.
IMAGE_EXTENSIONS = frozenset(
    {
        *("jpg", "jpeg", "jfif", "png", "webp", "bmp", "gif"),
        *("tif", "tiff", "avif", "heic", "jp2", "jxl", "ppm"),
    }
)

MAX_CAPTIONS = 1000  # of one sample


@dataclass(frozen=True)
class CaptionNames:
    """Where a shard keeps its captions; by default where WebDataset and img2dataset do.

    Attributes:
        member: extension of the member that is a caption as text, in lower case; ``json`` where
            captions stand in the json alone.
        key: of the json, that holds a caption or a list of them; None for ``caption``, else
            ``captions``.
    """

    member: str = "txt"
    key: str | None = None


@dataclass(frozen=True)
class Sample:
    """One image with its caption and metadata.

    ``image`` holds the encoded bytes; ``caption`` is the first of ``captions``, of which there may
    be several, and None where there is none; ``offset`` is where the sample's first member header
    starts in its tar; ``problems`` names what reading it found wrong, in the words of
    `dcr.validation.reasons`.
    """

    key: str
    image: bytes | None
    image_extension: str | None
    caption: str | None
    metadata: dict[str, Any] = field(default_factory=dict)
    offset: int = 0
    problems: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()


def split_name(name: str) -> tuple[str, str] | None:
    """Return (key, lower-case extension) of a member's name, None if it belongs to no sample.

    The name is cut at the first dot of its last part, which is WebDataset's rule: ``a.b/c.d.jpg``
    has the key ``a.b/c`` and the extension ``d.jpg``.

    Args:
        name: as the tar has it, folders included.
    """
    match = re.fullmatch(r"((?:.*/)?[^./]+)\.([^/]+)", name, flags=re.DOTALL)
    if match is None or name.startswith("__"):  # WebDataset keeps names like __meta__ for itself
        return None
    return match[1], match[2].lower()


def find_captions(
    text: str | None, metadata: dict[str, Any], key: str | None = None
) -> tuple[tuple[str, ...], bool]:
    """Return a sample's captions, and whether all that its json holds of them is no text.

    A list in the json, under ``caption`` or ``captions``, holds all captions, also beside a txt:
    this is then one of them or, from img2dataset, the list as Python prints it. Nulls and blanks in
    it are left out, and so is what comes after the first `MAX_CAPTIONS`. Without such a list the
    caption is the txt's, else the json's.

    Args:
        text: of the sample's member that holds a caption.
        metadata: of its json.
        key: of the json, in place of those two.
    """
    stated = [metadata.get(name) for name in ((key,) if key else ("caption", "captions"))]
    for listed in stated:
        if isinstance(listed, list):
            captions = [value for value in listed[:MAX_CAPTIONS] if value is not None]
            if all(isinstance(value, str) for value in captions) and any(
                value.strip() for value in captions
            ):
                return tuple(value for value in captions if value.strip()), False
    found = [value for value in (text, *stated) if isinstance(value, str)]
    return tuple(found[:1]), not found and any(value not in (None, []) for value in stated)
