"""The members of one key, which become a sample."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from dcr.data.shards.sample import IMAGE_EXTENSIONS, CaptionNames, Sample, find_captions

_SMALL_TEXT = 64 << 10  # of a json up to which all it holds is kept


@dataclass
class Group:
    """The members of one key while they are read.

    Attributes:
        key: of the sample.
        offset: of its first member's header, in bytes.
        names: of the member and the key that hold captions.
        extensions: of the members that came.
        content: of those that are read, by role: image, text, json.
        image_extension: of the image.
        problems: found so far.
    """

    key: str
    offset: int
    names: CaptionNames
    extensions: set[str] = field(default_factory=set)
    content: dict[str, bytes] = field(default_factory=dict)
    image_extension: str | None = None
    problems: set[str] = field(default_factory=set)

    def role(self, extension: str) -> str | None:
        """Return what a member of an ``extension`` is read as, None for nothing."""
        if extension in IMAGE_EXTENSIONS:
            return "image"
        return {self.names.member: "text", "json": "json"}.get(extension)

    def roles(self) -> int:
        """Return as bits which kinds of members there are: image, text, json, others."""
        kinds = {("image", "text", "json", None).index(self.role(n)) for n in self.extensions}
        return sum(1 << kind for kind in kinds)

    def sample(self) -> Sample:
        """Return the sample that the members make."""
        metadata = self._parse_metadata()
        captions, no_text = find_captions(self._decode_text(), metadata, self.names.key)
        self._note_dotted()
        if no_text:
            self.problems.add("caption_not_text")
        if len(self.content.get("json", b"")) > _SMALL_TEXT:
            metadata = {
                name: value
                for name, value in metadata.items()
                if not isinstance(value, dict | list)
            }
        return Sample(
            self.key,
            self.content.get("image"),
            self.image_extension,
            captions[0] if captions else None,
            metadata,
            self.offset,
            tuple(sorted(self.problems)),
            captions,
        )

    def _note_dotted(self) -> None:
        """Note images of another key, as ``a.b.jpg`` is called ``b.jpg`` of the key ``a``."""
        if any(
            "." in name and name.rpartition(".")[2] in IMAGE_EXTENSIONS for name in self.extensions
        ):
            alone = self.extensions.isdisjoint(IMAGE_EXTENSIONS)
            self.problems.add("dotted_name" if alone else "dotted_image_left_out")

    def _parse_metadata(self) -> dict[str, Any]:
        text = self.content.get("json", b"{}")
        try:
            metadata = json.loads(text) if _is_frugal(text) else None
        except (ValueError, RecursionError):
            metadata = None
        if not isinstance(metadata, dict):
            self.problems.add("metadata_invalid")
            return {}
        return metadata

    def _decode_text(self) -> str | None:
        text = self.content.get("text")
        if text is None:
            return None
        try:
            return text.decode()
        except UnicodeDecodeError:
            self.problems.add("caption_not_utf8")
            return text.decode(errors="replace")


def _is_frugal(text: bytes) -> bool:
    """Tell whether a json's lists and objects are few for its size.

    Each of them takes twenty times its bytes or more.
    """
    return len(text) <= _SMALL_TEXT or text.count(b"[") + text.count(b"{") <= len(text) // 8
