"""What a caption is, its language, and how much of it a text tower reads."""

from __future__ import annotations

import hashlib
import html
import re
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dcr.data.shards import Sample
from dcr.errors import UserError
from dcr.seeds import derive_seed

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Characters of a caption that are kept and looked at; its length is counted in full.
MAX_TEXT = 10_000
UNDETERMINED = "und"
"""ISO 639's code of a language that cannot be told."""
_LANGUAGE_TEXT = 1000  # characters by which a language is told
_FILE_OR_URL = re.compile(
    r"(https?://|www\.)\S+|\S+\.(jpe?g|png|gif|webp|bmp|tiff?|svg)", re.IGNORECASE
)
# open_clip's own rule: contractions, words, single digits, runs of other marks.
_CLIP_WORDS = (
    r"""<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
)
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Counting:
    """How tokens of captions are counted.

    Attributes:
        name: of the tokenizer, for people.
        tokenizer, cleaning: as for `token_counter`; None where nothing is counted.
        context_length: tokens that the text tower reads.
        why_not: why nothing is counted, a sentence; None where tokens are.
    """

    name: str
    tokenizer: str | None
    cleaning: str
    context_length: int
    why_not: str | None = None


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
def token_counter(source: str, cleaning: str = "none") -> Callable[[str], int]:
    """Return a function that counts a caption's tokens, with start and end, before any is cut off.

    Only the tokenizer is loaded, with neither torch nor a model: workers need it, and there are
    many of them.

    Args:
        source: ``clip``, the byte-pair tokenizer of OpenAI's CLIP and of most open_clip models, or
            the text of a ``tokenizer.json``.
        cleaning: of texts before the latter: ``none``, or as open_clip does, ``whitespace`` or
            ``canonicalize``.
    """
    if source == "clip":
        tokenizer = _clip_tokenizer()
        return lambda text: len(tokenizer.encode(_clean(text[:MAX_TEXT]).lower()).ids) + 2
    tokenizer = _unbounded(source)
    cleaners: dict[str, Callable[[str], str]] = {
        "none": str,
        "whitespace": _clean,
        "canonicalize": _canonicalize,
    }
    clean = cleaners[cleaning]
    return lambda text: len(tokenizer.encode(clean(text[:MAX_TEXT])).ids)


def _clean(text: str) -> str:
    """Clean a text as open_clip does before it tokenizes, but for its case."""
    is_plain = text.isascii() and text.isprintable() and "&" not in text
    if not is_plain:  # most captions need none of this, and it is slow
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split())


def _canonicalize(text: str) -> str:
    """Clean a text as open_clip does for SigLIP: lower case, no punctuation."""
    text = _clean(text).replace("_", " ").translate(_NO_PUNCTUATION)
    return " ".join(text.lower().split())


@cache
def language_detector(min_confidence: float) -> Callable[[str], str]:
    """Return a function that tells a text's language, an ISO 639 code.

    It is py3langid's naive Bayes over byte n-grams (Lui and Baldwin, "langid.py", ACL 2012), whose
    model comes with the package. Of two or three words it can tell little, and says so.

    Args:
        min_confidence: probability, 0 to 1, under which a language is `UNDETERMINED`.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    known = LanguageIdentifier.from_model_file(
        MODEL_FILE, norm_probs=True, min_confidence=min_confidence
    )
    return lambda text: str(known.classify(text[:_LANGUAGE_TEXT])[0])


def _clip_tokenizer() -> Tokenizer:
    """Build open_clip's SimpleTokenizer anew: its time grows with the square of a word's length."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    vocabulary, merges = _clip_vocabulary()
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    words = pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.add_special_tokens(["<start_of_text>", "<end_of_text>"])
    return tokenizer


def _clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Read the merges that open_clip ships, without importing it and thereby torch."""
    import gzip
    from importlib.util import find_spec

    from tokenizers import pre_tokenizers

    spec = find_spec("open_clip")
    assert spec is not None  # it is among our requirements, and has a file
    assert spec.origin is not None
    path = Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [(first, second) for first, second in (line.split() for line in lines)]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [
        *letters,
        *(letter + "</w>" for letter in letters),
        *(first + second for first, second in merges),
    ]
    return {token: index for index, token in enumerate(tokens)}, merges


def read_tokenizer(path: Path) -> str:
    """Return the text of a ``tokenizer.json`` as transformers writes it.

    Args:
        path: of the file, or of a folder that holds it.

    Raises:
        UserError: the file is missing or no tokenizer.
    """
    path = path / "tokenizer.json" if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
        _unbounded(text)
    except Exception as exc:  # the library raises plain exceptions
        raise UserError(
            f"validation.tokenizer: {path} is no tokenizer.json that can be read ({exc})"
        ) from exc
    return text


def _unbounded(text: str) -> Tokenizer:
    """Return the tokenizer that a tokenizer.json describes, which cuts and fills nothing."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
