"""What a caption is, what may be wrong with it, and its language."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from dcr.data.shards import Sample
from dcr.seeds import derive_seed

# Characters of a caption that are kept and looked at; its length is counted in full.
MAX_TEXT = 10_000
UNDETERMINED = "und"
"""ISO 639's code of a language that cannot be told."""
_LANGUAGE_TEXT = 1000  # characters by which a language is told
_FILE_OR_URL = re.compile(
    r"(https?://|www\.)\S+|\S+\.(jpe?g|png|gif|webp|bmp|tiff?|svg)", re.IGNORECASE
)


def choose_caption(sample: Sample, choice: str) -> str | None:
    """Return the one of a sample's captions that all steps take, None where it has none.

    Args:
        sample: with its captions, and its image for ``drawn``.
        choice: ``first``, or ``drawn`` by the image's bytes alone, so that neither order nor shards
            change it.
    """
    if choice == "first" or len(sample.captions) < 2:
        return sample.caption
    image_hash = hashlib.sha256(sample.image or b"").hexdigest()
    return sample.captions[derive_seed(0, "caption", image_hash) % len(sample.captions)]


def caption_findings(caption: str | None, problems: Sequence[str]) -> Iterator[str]:
    """Yield the names of what is wrong with a caption, its length in tokens aside.

    Args:
        caption: as it stands in the shard; None where there is none.
        problems: what reading its sample found wrong.
    """
    if caption is None:
        if not {"tar_truncated", "caption_not_text"}.intersection(problems):
            yield "caption_missing"
        return
    text = caption.strip()
    if not text:
        yield "caption_empty"
    elif _FILE_OR_URL.fullmatch(text[:MAX_TEXT]):
        yield "caption_is_file_or_url"
    elif text.startswith(("['", '["')) and text.endswith(("']", '"]')):
        yield "caption_is_list"


@cache
def language_detector(min_confidence: float) -> Callable[[str], str]:
    """Return a function that tells a text's language, an ISO 639 code.

    It is py3langid's naive Bayes over byte n-grams (Lui and Baldwin, "langid.py", ACL 2012), whose
    model comes with the package. Of two or three words it can tell little, and says so; a text of
    spaces alone is `UNDETERMINED`.

    Args:
        min_confidence: probability, 0 to 1, under which a language is `UNDETERMINED`.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    known = LanguageIdentifier.from_model_file(
        MODEL_FILE, norm_probs=True, min_confidence=min_confidence
    )

    def tell(text: str) -> str:
        return str(known.classify(text[:_LANGUAGE_TEXT])[0]) if text.strip() else UNDETERMINED

    return tell
