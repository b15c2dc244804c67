"""Configurations that came with a model are data.

Only keys on a list reach the libraries, and numbers are bounded. A key that is not on a list may
name code, another repository or a path outside the folder; such keys are dropped or refused before
any library sees them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcr.errors import UserError, first_line

if TYPE_CHECKING:
    import torch

_MAX_CONFIG = 64 << 20  # bytes; an index of sharded weights is the largest that is read
_MAX_NUMBER = 4096  # a number beyond it must be the size of some tensor
_TOKENIZER_FILES = (
    *("tokenizer.json", "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tokenizer.model"),
    "sentencepiece.bpe.model",
)
_SPECIAL_TOKENS = (
    *("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"),
    *("additional_special_tokens", "extra_special_tokens"),
)
_TOKENIZER_KEYS = (
    *(
        "tokenizer_class",
        "backend",
        "model_max_length",
        "padding_side",
        "truncation_side",
        "added_tokens_decoder",
    ),
    *(*_SPECIAL_TOKENS, "split_special_tokens", "clean_up_tokenization_spaces"),
    *(
        "add_prefix_space",
        "add_bos_token",
        "add_eos_token",
        "do_lower_case",
        "strip_accents",
        "errors",
        "legacy",
    ),
    *("tokenize_chinese_chars", "do_basic_tokenize", "spaces_between_special_tokens", "extra_ids"),
    *("src_lang", "tgt_lang", "language_codes"),
)
_TOKENIZER_CONFIGS = {
    "tokenizer_config.json": _TOKENIZER_KEYS,
    "special_tokens_map.json": _SPECIAL_TOKENS,
    "config.json": ("model_type",),
}


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping that the JSON file ``path`` holds.

    Raises:
        UserError: it is missing, too large or no mapping.
    """
    try:
        if path.stat().st_size > _MAX_CONFIG:
            raise ValueError(f"it has more than {_MAX_CONFIG >> 20} MiB")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(
            f"{path} cannot be read as JSON ({reason}): replace it by the one of the model"
        ) from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path} must hold a mapping, got {type(content).__name__}: replace it by the one of"
            " the model"
        )
    return content


def pick(config: Any, allowed: Collection[str], path: Path) -> dict[str, Any]:
    """Return the part of a mapping whose keys are allowed; UserError if it is no mapping.

    Args:
        config: a part of a configuration, of whatever type the file holds there.
        allowed: the keys to keep; others are dropped in silence.
        path: the configuration's file, for messages.
    """
    if not isinstance(config, dict):
        raise UserError(
            f"{path} holds a {type(config).__name__} where a mapping is due: replace it by the"
            " model's own"
        )
    return {key: value for key, value in config.items() if key in allowed}


def only(config: Any, allowed: Collection[str], path: Path, what: str) -> dict[str, Any]:
    """Return a mapping all of whose keys are allowed; UserError that names those that are not.

    Args:
        config: as for `pick`.
        allowed: the only keys that may be there.
        path: the configuration's file, for messages.
        what: name of the part, for messages.
    """
    found = pick(config, config, path)
    unknown = sorted(set(found) - set(allowed))
    if unknown:
        raise UserError(
            f"{path}: {what} has {', '.join(map(str, unknown[:5]))}, which a folder may not set or"
            " which is not known here: take the key out, or choose another model"
        )
    return found


def check_numbers(
    config: Mapping[str, Any], weights: Mapping[str, torch.Tensor], path: Path
) -> None:
    """Refuse numbers that no model with these weights can have, before they set a size.

    Args:
        config: what is about to build a model.
        weights: its tensors by name, with or without values.
        path: the configuration's file, for messages.
    """
    largest = max([_MAX_NUMBER, *(size for tensor in weights.values() for size in tensor.shape)])
    for key, value in _leaves(config):
        bound = max(len(weights), 1) if "layers" in key else largest
        if isinstance(value, int | float) and not abs(value) <= bound:
            raise UserError(
                f"{path}: {key} is {value}, but the weights beside it have {len(weights)} tensors"
                f" and no side longer than {largest}: replace the file by the one of the model"
            )


def load_tokenizer(folder: Path, build: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Return the tokenizer of a folder, through a copy that holds its files and allowed keys alone.

    Args:
        folder: holds the files of a tokenizer of transformers.
        build: takes a folder and transformers' arguments; ``AutoTokenizer.from_pretrained`` unless
            it is given.
        options: further arguments of ``build``.

    Raises:
        UserError: the folder has no tokenizer.
    """
    from transformers import AutoTokenizer

    copy = tokenizer_copy(folder)
    try:
        build = build or AutoTokenizer.from_pretrained
        tokenizer = build(copy, local_files_only=True, trust_remote_code=False, **options)
    except Exception as error:  # whatever a foreign file may raise
        shutil.rmtree(copy, ignore_errors=True)
        reason = first_line(error).replace(str(copy), str(folder))
        raise UserError(
            f"The tokenizer in {folder} cannot be loaded ({reason}): get its files again"
        ) from error
    # Some tokenizers read their files again when saved.
    weakref.finalize(tokenizer, shutil.rmtree, copy, ignore_errors=True)
    return tokenizer


def tokenizer_copy(folder: Path) -> Path:
    """Return a temporary folder: links to a tokenizer's files, allowed keys of its configurations.

    Args:
        folder: holds the files of a tokenizer of transformers; they are linked, not copied.
    """
    files = [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    if not any(
        path.name.startswith(("tokenizer.", "vocab.", "spiece", "sentencepiece")) for path in files
    ):
        raise UserError(
            f"{folder} has no tokenizer, so it has no text side: tokenizer.json, or vocab.json with"
            " merges.txt, or spiece.model must lie in it"
        )
    picked = {
        name: pick(read_json(folder / name), keys, folder / name)
        for name, keys in _TOKENIZER_CONFIGS.items()
        if (folder / name).is_file()
    }
    if (folder / "added_tokens.json").is_file():
        added = read_json(folder / "added_tokens.json")
        picked["added_tokens.json"] = {
            token: number for token, number in added.items() if isinstance(number, int)
        }
    copy = Path(tempfile.mkdtemp(prefix="dcr-tokenizer-"))
    for path in files:
        (copy / path.name).symlink_to(path.resolve())
    for name, config in picked.items():
        (copy / name).write_text(json.dumps(config), encoding="utf-8")
    return copy


def _leaves(config: Any, key: str = "config") -> Iterator[tuple[str, Any]]:
    if isinstance(config, Mapping):
        for name, value in config.items():
            yield from _leaves(value, str(name))
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _leaves(value, key)
    elif not isinstance(config, bool):
        yield key, config
