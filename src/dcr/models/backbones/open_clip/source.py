"""What open_clip would build and load for a source, as checked data.

That is configuration, weights, preprocessing and tokenizer. Nothing here builds a model.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import open_clip
from open_clip.transform import PreprocessCfg

from dcr.data.hub_files import WEIGHTS
from dcr.data.sources import LOCAL
from dcr.errors import UserError
from dcr.models.backbones.open_clip import tags
from dcr.models.backbones.open_clip.config import checked_model_cfg
from dcr.models.model_configs import pick, read_json
from dcr.models.weights import find_weights

_LOG = logging.getLogger(__name__)
_PREPROCESS = tuple(asdict(PreprocessCfg()))


@dataclass
class OpenClipSource:
    """What a source names.

    model_cfg: the checked ``model_cfg``. preprocess_cfg: what differs from open_clip's defaults.
    weights: the file. config_path: where the configuration stands, for messages. tokenizer: the
    folder, or the repository, that holds a tokenizer of transformers; None for open_clip's own.
    """

    model_cfg: dict[str, Any]
    weights: Path
    config_path: Path
    preprocess_cfg: dict[str, Any] = field(default_factory=dict)
    tokenizer: str | None = None


def read_source(source: str) -> OpenClipSource:
    """Return what ``source`` names.

    It is a ``local-dir:<folder>``, a folder's path, or ``<model name>/<pretrained tag or file>``.

    Raises:
        UserError: there is no such thing, or its configuration asks for what a folder may not ask
            for.
    """
    folder = _folder(source)
    return _read_name(source) if folder is None else _read_folder(folder)


def is_of_open_clip(location: str) -> bool:
    """Tell whether open_clip reads the local source ``location``.

    A folder's ``config.json`` makes it another library's.
    """
    if location.startswith(LOCAL) or not Path(location).is_dir():
        return True
    names = ("config.json", "open_clip_config.json")
    return [Path(location, name).is_file() for name in names] == [False, True]


def peek_model_cfg(source: str) -> dict[str, Any]:
    """Return the ``model_cfg`` that ``source`` names, unchecked; empty where none can be read."""
    folder = _folder(source)
    if folder is None:
        name = source.partition("/")[0]
        return open_clip.get_model_config(name) if name in open_clip.list_models() else {}
    try:
        found = read_json(folder / "open_clip_config.json").get("model_cfg")
    except UserError:  # told by who reads the source
        return {}
    return found if isinstance(found, dict) else {}


def names_timm_tower(model_cfg: dict[str, Any]) -> bool:
    """Tell whether ``model_cfg``, checked or not, has its image tower built by timm."""
    vision_cfg = model_cfg.get("vision_cfg")
    return isinstance(vision_cfg, dict) and bool(vision_cfg.get("timm_model_name"))


def _folder(source: str) -> Path | None:
    """Return the folder that a source names, None for a model of open_clip's table."""
    is_folder = source.startswith(LOCAL) or Path(source).is_dir()
    return Path(source.removeprefix(LOCAL)) if is_folder else None


def _read_folder(folder: Path) -> OpenClipSource:
    path = folder / "open_clip_config.json"
    if not folder.is_dir():
        raise UserError(
            f"Backbone folder {folder} does not exist: check the path, or run the step that"
            " makes it."
        )
    if not path.is_file():
        hint = (
            "it is a transformers folder, so leave out 'local-dir:'"
            if (folder / "config.json").is_file()
            else ("point the recipe's backbone at an open_clip model folder")
        )
        raise UserError(f"Backbone folder {folder} has no open_clip_config.json: {hint}.")
    config = read_json(path)
    model_cfg = checked_model_cfg(config.get("model_cfg"), path)
    if "preprocess_cfg" not in config:
        _LOG.warning(
            "%s has no preprocess_cfg: OpenAI's mean and std, bicubic and shortest are taken", path
        )
    return OpenClipSource(
        model_cfg,
        find_weights(folder, WEIGHTS["open_clip"]),
        path,
        pick(config.get("preprocess_cfg") or {}, _PREPROCESS, path),
        str(folder) if model_cfg["text_cfg"].get("hf_tokenizer_name") else None,
    )


def _read_name(source: str) -> OpenClipSource:
    name, _, pretrained = source.partition("/")
    if name not in open_clip.list_models() or not pretrained:
        raise UserError(
            f"Backbone {source} is neither a folder that exists, nor local-dir:<folder>,"
            " <org>/<name>, hf-hub:<org>/<name> or <open_clip model>/<pretrained tag or file>:"
            " check the path or the name."
        )
    config_path = Path(f"{name}.json")
    model_cfg = checked_model_cfg(open_clip.get_model_config(name), config_path)
    path = (
        Path(pretrained) if Path(pretrained).is_file() else tags.tag_file(source, name, pretrained)
    )
    tag = (
        open_clip.get_pretrained_cfg(name, pretrained)
        if path != Path(pretrained)
        else tags.published_as(name, path)
    )
    tags.set_activation(source, name, model_cfg, path, tag)
    preprocess_cfg = pick(tag or tags.shared_by_tags(name), _PREPROCESS, config_path)
    return OpenClipSource(
        model_cfg, path, config_path, preprocess_cfg, model_cfg["text_cfg"].get("hf_tokenizer_name")
    )
