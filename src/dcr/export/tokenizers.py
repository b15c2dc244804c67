"""A backbone's tokenizer as files that transformers reads."""

from __future__ import annotations

import copy
import json
import re
import string
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from open_clip import SimpleTokenizer
from tokenizers import Regex, normalizers

from dcr.errors import UserError

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone

_BOS, _EOS = "<|startoftext|>", "<|endoftext|>"


def write_clip_tokenizer(folder: Path, context_length: int) -> None:
    """Write ``vocab.json``, ``merges.txt``, ``tokenizer_config.json`` and
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


def write_tokenizer(folder: Path, backbone: Backbone) -> None:
    """Write the tokenizer of ``backbone``, as transformers reads it, into ``folder``.

    Raises:
        UserError: it cleans texts in a way that transformers does not know, so that token ids would
            differ.
    """
    tokenizer = backbone.tokenizer
    if isinstance(tokenizer, SimpleTokenizer):
        if backbone.model_cfg["text_cfg"].get("tokenizer_kwargs"):
            raise UserError(
                "The model cannot be written for transformers: its tokenizer cleans text in a way"
                " that CLIPTokenizer does not know (tokenizer_kwargs)."
            )
        write_clip_tokenizer(folder, tokenizer.context_length)
    else:
        unused = copy.deepcopy(_transformers_tokenizer(tokenizer))
        if hasattr(
            unused, "backend_tokenizer"
        ):  # it remembers, and would save, how it was last called
            unused.backend_tokenizer.no_padding()
            unused.backend_tokenizer.no_truncation()
        _keep_cleaning(unused, backbone)
        unused.save_pretrained(folder)
        _name_for_every_version(folder / "tokenizer_config.json")


def _name_for_every_version(path: Path) -> None:
    """Call a plain fast tokenizer by the name that transformers 4 knows too."""
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _keep_cleaning(tokenizer: Any, backbone: Backbone) -> None:
    """Put into the tokenizer what open_clip does to a text before it: the words of SigLIP, in
    place.

    ``canonicalize`` (lower case, no punctuation, single spaces) becomes a normalizer; doing it
    twice, as open_clip will with the same files, changes nothing. ``whitespace``, open_clip's
    default, is left to the tokenizer.
    """
    options = dict(
        getattr(backbone, "model_cfg", {}).get("text_cfg", {}).get("tokenizer_kwargs") or {}
    )
    clean = options.pop("clean", "whitespace")
    if options or clean not in ("whitespace", "canonicalize"):
        raise UserError(
            "The model cannot be written for transformers: its tokenizer has the options "
            f"{options | {'clean': clean}}, which tokenizers there do not know."
        )
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if clean == "canonicalize" and backend is not None:
        own = [backend.normalizer] if backend.normalizer else []
        backend.normalizer = normalizers.Sequence([*_canonicalize(), *own])


def _canonicalize() -> list[Any]:
    punctuation = Regex(f"[{re.escape(string.punctuation.replace('_', ''))}]")
    return [
        normalizers.Replace("_", " "),
        normalizers.Replace(punctuation, ""),
        normalizers.Lowercase(),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip(),
    ]


def eos_token_id(backbone: Backbone) -> int:
    """Return the id of the end token of ``backbone``, at which causal text towers are pooled."""
    tokenizer = backbone.tokenizer
    if isinstance(tokenizer, SimpleTokenizer):
        return tokenizer.eot_token_id
    return _transformers_tokenizer(tokenizer).eos_token_id


def is_open_clip_vocabulary(tokenizer: Any) -> bool:
    """Tell whether ``tokenizer``, of transformers, has the very ids of open_clip's default
    tokenizer.
    """
    return tokenizer.get_vocab() == _clip_vocabulary()[0]


@cache
def _clip_vocabulary() -> tuple[dict[str, int], list[str]]:
    """Return {token: id} and the merges in order, with the special tokens as transformers
    spells them.
    """
    tokenizer = SimpleTokenizer()
    names = {"<start_of_text>": _BOS, "<end_of_text>": _EOS}
    vocabulary = {names.get(token, token): index for token, index in tokenizer.encoder.items()}
    return vocabulary, [
        " ".join(pair) for pair in sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.get)
    ]


def _transformers_tokenizer(tokenizer: Any) -> Any:
    """open_clip's HFTokenizer wraps one; transformers' own stands for itself."""
    return getattr(tokenizer, "tokenizer", tokenizer)
