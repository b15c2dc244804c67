"""Tokenizers as files that every version of transformers reads."""

from __future__ import annotations

import copy
import json
import re
import string
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from open_clip import SimpleTokenizer
from tokenizers import Regex, normalizers

from dcr.errors import UserError

_BOS, _EOS = "<|startoftext|>", "<|endoftext|>"


def write_clip_tokenizer(folder: Path, context_length: int) -> None:
    """Write the four files of CLIP's tokenizer that every version of transformers reads.

    They are ``vocab.json``, ``merges.txt``, ``tokenizer_config.json`` and
    ``special_tokens_map.json``.

    Every version of transformers reads these four; ``tokenizer.json`` is left out because old ones
    cannot read what new ones write. Token ids equal open_clip's up to and including the end token.
    Padding differs, as in OpenAI's own upload: the end token instead of 0, because "!" (id 0) as
    padding would become special inside texts; a causal text tower's features do not depend on it.
    transformers does not undo HTML entities and broken Unicode.

    Args:
        folder: is made where it is missing; files of these names in it are overwritten.
        context_length: tokens of the longest text, start and end token included.
    """
    vocabulary, merges = _clip_vocabulary()
    special = {"bos_token": _BOS, "eos_token": _EOS, "pad_token": _EOS, "unk_token": _EOS}
    config = {
        **special,
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": context_length,
        "tokenizer_class": "CLIPTokenizer",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    for name, content in (("tokenizer_config.json", config), ("special_tokens_map.json", special)):
        (folder / name).write_text(
            json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )


def write_transformers_tokenizer(
    folder: Path, tokenizer: Any, options: Mapping[str, Any] | None = None
) -> None:
    """Write transformers' tokenizer into ``folder``, with open_clip's cleaning of texts in it.

    ``canonicalize`` (lower case, no punctuation, single spaces; the word of SigLIP) becomes a
    normalizer; doing it twice, as open_clip will with the same files, changes nothing.
    ``whitespace``, open_clip's default, is left to the tokenizer.

    Args:
        folder: exists; files of a tokenizer in it are overwritten.
        tokenizer: is not changed.
        options: open_clip's ``tokenizer_kwargs``.

    Raises:
        UserError: they clean texts in a way that transformers does not know, so that token ids
            would differ.
    """
    others = dict(options or {})
    clean = others.pop("clean", "whitespace")
    if others or clean not in ("whitespace", "canonicalize"):
        raise UserError(
            "The model cannot be written for transformers: its tokenizer has the options "
            f"{others | {'clean': clean}}, which tokenizers there do not know."
        )
    unused = copy.deepcopy(tokenizer)
    backend = getattr(unused, "backend_tokenizer", None)
    if backend is not None:  # it remembers, and would save, how it was last called
        backend.no_padding()
        backend.no_truncation()
    if clean == "canonicalize" and backend is not None:
        own = [backend.normalizer] if backend.normalizer else []
        backend.normalizer = normalizers.Sequence([*_canonicalize(), *own])
    unused.save_pretrained(folder)
    _name_for_every_version(folder / "tokenizer_config.json")


def _name_for_every_version(path: Path) -> None:
    """Call a plain fast tokenizer by the name that transformers 4 knows too."""
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _canonicalize() -> list[Any]:
    punctuation = Regex(f"[{re.escape(string.punctuation.replace('_', ''))}]")
    return [
        normalizers.Replace("_", " "),
        normalizers.Replace(punctuation, ""),
        normalizers.Lowercase(),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip(),
    ]


def is_open_clip_vocabulary(tokenizer: Any) -> bool:
    """Tell whether transformers' ``tokenizer`` has the ids of open_clip's default tokenizer."""
    return bool(tokenizer.get_vocab() == _clip_vocabulary()[0])


@cache
def _clip_vocabulary() -> tuple[dict[str, int], list[str]]:
    """Return {token: id} and the merges in order, special tokens spelt as in transformers."""
    tokenizer = SimpleTokenizer()
    names = {"<start_of_text>": _BOS, "<end_of_text>": _EOS}
    vocabulary = {names.get(token, token): index for token, index in tokenizer.encoder.items()}
    return vocabulary, [
        " ".join(pair) for pair in sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.get)
    ]
