"""How much of a caption a text tower reads: its tokens, counted without the model."""

from __future__ import annotations

import hashlib
import html
import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dcr.errors import UserError
from dcr.validation.captions import MAX_TEXT

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CLIP = "clip"
"""The name of the tokenizer that open_clip has in itself."""
TOKENIZER_FILE = "tokenizer.json"
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
        tokenizer: ``clip``, or the hex sha256 of a ``tokenizer.json``, which has many megabytes and
            is therefore handed on as a file; None where nothing is counted.
        cleaning: as for `token_counter`.
        context_length: tokens that the text tower reads.
        why_not: why nothing is counted, a sentence; None where tokens are.
    """

    name: str
    tokenizer: str | None
    cleaning: str
    context_length: int
    why_not: str | None = None


@cache
def token_counter(identity: str, cleaning: str = "none", file: str = "") -> Callable[[str], int]:
    """Return a function that counts a caption's tokens, with start and end, before any is cut off.

    Only the tokenizer is loaded, with neither torch nor a model: workers need it, and there are
    many of them. It is loaded once a process.

    Args:
        identity: ``clip``, the byte-pair tokenizer of OpenAI's CLIP and of most open_clip
            models, or what `tokenizer_id` returned of the text of ``file``.
        cleaning: of texts before the latter: ``none``, or as open_clip does, ``whitespace`` or
            ``canonicalize``.
        file: path of a ``tokenizer.json``, which is not read for ``clip``.

    Raises:
        UserError: the file cannot be read here, or is another one.
    """
    if identity == CLIP:
        tokenizer = _clip_tokenizer()
        return lambda text: len(tokenizer.encode(_clean(text[:MAX_TEXT]).lower()).ids) + 2
    tokenizer = _unbounded(_read_checked(file, identity))
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
    path = path / TOKENIZER_FILE if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
        _unbounded(text)
    except Exception as exc:  # the library raises plain exceptions
        raise UserError(
            f"validation.tokenizer: {path} is no tokenizer.json that can be read ({exc})"
        ) from exc
    return text


def tokenizer_id(text: str | None) -> str | None:
    """Return what stands for a tokenizer in keys and tasks: ``clip``, or the text's hex sha256.

    Args:
        text: of a ``tokenizer.json``, or ``clip``; None where nothing is counted, which stays None.
    """
    return text if text in (None, CLIP) else hashlib.sha256(text.encode()).hexdigest()


def write_tokenizer(text: str | None, folder: Path) -> None:
    """Write the ``text`` of a ``tokenizer.json`` into ``folder``; of ``clip`` or None, nothing."""
    if text not in (None, CLIP):
        (folder / TOKENIZER_FILE).write_bytes(text.encode())


def _read_checked(file: str, sha256: str) -> str:
    try:
        content = Path(file).read_bytes()
    except OSError as exc:
        raise UserError(
            f"{file}, by which captions' tokens are counted, cannot be read ({exc}): every host"
            " that validates must see the project's data/ under one path"
        ) from exc
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(
            f"{file}, by which captions' tokens are counted, changed during the run: run"
            " `kedro run --pipelines validation` again, one at a time"
        )
    return content.decode()


def _unbounded(text: str) -> Tokenizer:
    """Return the tokenizer that a tokenizer.json describes, which cuts and fills nothing."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
