"""Captions of every kind, as members of a sample, with what they are read as and the reason that
validation gives.

A case is a row of ``docs/inputs.md``, whose first column is its ``row``.
"""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Caption:
    """Members txt and json of a sample, the captions that they hold, and the reason, None for
    none.
    """

    row: str
    text: bytes | None
    metadata: dict
    captions: tuple[str, ...]
    reason: str | None = None

    def members(self) -> dict[str, bytes]:
        """Return the members by extension."""
        text = {} if self.text is None else {"txt": self.text}
        return text | {"json": json.dumps(self.metadata).encode()}


BOTH = ("a fish", "a pond")
LIST, PRINTED = list(BOTH), b"['a fish', 'a pond']"
TEXT, LISTED = "a txt, or a text in the json", "a list in the json"
NO_TEXT, NONE = (
    "a number, a truth value, an object or a list of such in the json",
    "none, null or an empty list",
)
CAPTIONS = [
    Caption(TEXT, b"a fish", {}, ("a fish",)),
    Caption(TEXT, None, {"caption": "a fish"}, ("a fish",)),
    Caption(TEXT, None, {"captions": "a fish"}, ("a fish",)),
    Caption("both", b"a fish", {"caption": "a pond"}, ("a fish",)),
    Caption("both", b"a fish", {"caption": 7}, ("a fish",)),
    Caption(LISTED, None, {"caption": LIST}, BOTH),
    Caption(LISTED, None, {"captions": LIST}, BOTH),
    Caption(LISTED, None, {"caption": "a fish", "captions": LIST}, BOTH),
    Caption(LISTED, None, {"caption": ["a fish"]}, ("a fish",)),
    Caption(LISTED, None, {"caption": ["", None, "a fish", " ", "a pond"]}, BOTH),
    Caption("a list in the json beside a txt", PRINTED, {"caption": LIST}, BOTH),
    Caption("a list in the json beside a txt", b"a fish", {"captions": LIST}, BOTH),
    Caption(
        "a list as Python prints it in the txt alone",
        PRINTED,
        {},
        (PRINTED.decode(),),
        "caption_is_list",
    ),
    Caption(NO_TEXT, None, {"caption": 7}, (), "caption_not_text"),
    Caption(NO_TEXT, None, {"caption": True}, (), "caption_not_text"),
    Caption(NO_TEXT, None, {"caption": {"en": "a fish"}}, (), "caption_not_text"),
    Caption(NO_TEXT, None, {"caption": [1, "a fish"]}, (), "caption_not_text"),
    Caption(NO_TEXT, None, {"captions": [["a fish"]]}, (), "caption_not_text"),
    Caption(NONE, None, {}, (), "caption_missing"),
    Caption(NONE, None, {"caption": None}, (), "caption_missing"),
    Caption(NONE, None, {"caption": []}, (), "caption_missing"),
    Caption("blanks", b" \n", {}, (" \n",), "caption_empty"),
    Caption("a txt that is not UTF-8", b"caf\xe9", {}, ("caf\ufffd",), "caption_not_utf8"),
    Caption("a file name or a URL", b"IMG_1.jpg", {}, ("IMG_1.jpg",), "caption_is_file_or_url"),
]
