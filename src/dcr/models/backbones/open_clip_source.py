"""What open_clip would build and load for a source, as checked data: configuration, weights,
preprocessing, tokenizer.

Nothing here builds a model, and nothing of a folder reaches open_clip but the keys listed below.
"""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import open_clip
from huggingface_hub import try_to_load_from_cache
from open_clip.transform import PreprocessCfg

from dcr.data.hub_files import WEIGHTS
from dcr.data.sources import FETCH, LOCAL
from dcr.errors import UserError
from dcr.models.backbones.torchscript import activation_of, is_torchscript
from dcr.models.model_configs import only, pick, read_json
from dcr.models.weights import find_weights

_LOG = logging.getLogger(__name__)
_TOP = (
    *("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text"),
    *("init_logit_scale", "init_logit_bias", "nonscalar_logit_scale"),
)
_BLOCKS = (
    *(
        "block_type",
        "qk_norm",
        "scaled_cosine_attn",
        "scale_heads",
        "scale_attn_inner",
        "scale_attn",
        "scale_fc",
    ),
    *("layers", "width", "mlp_ratio", "ls_init_value", "act_kwargs", "norm_kwargs", "pool_type"),
    *("final_ln_after_pool", "output_tokens"),
)
_VISION = (
    *(
        *_BLOCKS,
        "head_width",
        "patch_size",
        "image_size",
        "patch_dropout",
        "no_ln_pre",
        "pos_embed_type",
    ),
    *(
        "attentional_pool",
        "attn_pooler_queries",
        "attn_pooler_heads",
        "timm_model_name",
        "timm_model_pretrained",
    ),
    *("timm_pool", "timm_proj", "timm_proj_bias", "timm_drop", "timm_drop_path"),
)
_TEXT = (
    *(
        *_BLOCKS,
        "context_length",
        "vocab_size",
        "heads",
        "embed_cls",
        "pad_id",
        "eos_id",
        "no_causal_mask",
    ),
    *("proj_bias", "proj_type", "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs"),
)
_INNER = {
    "act_kwargs": ("approximate",),
    "norm_kwargs": ("eps",),
    "tokenizer_kwargs": ("clean", "strip_sep_token"),
}
_PREPROCESS = tuple(asdict(PreprocessCfg()))
_QUICK = "-quickgelu"


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
    """Return what ``source``, a ``local-dir:<folder>`` or ``<model name>/<pretrained tag or
    file>``, names.

    Raises:
        UserError: there is no such thing, or its configuration asks for what a folder may not ask
            for.
    """
    return (
        _read_folder(Path(source.removeprefix(LOCAL)))
        if source.startswith(LOCAL)
        else _read_name(source)
    )


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


def checked_model_cfg(model_cfg: Any, path: Path) -> dict[str, Any]:
    """Return a ``model_cfg`` all of whose keys are known and harmless; UserError that names what is
    not.

    Args:
        model_cfg: as ``open_clip_config.json`` holds it.
        path: where it stands, for messages.
    """
    lacking = {"embed_dim", "vision_cfg", "text_cfg"} - set(pick(model_cfg, _TOP, path))
    if lacking:
        raise UserError(
            f"{path}: model_cfg lacks {', '.join(sorted(lacking))}: replace it by the one of the"
            " model"
        )
    if "multimodal_cfg" in model_cfg:
        raise UserError(
            f"{path} describes a CoCa; only CLIP and CustomTextCLIP models of open_clip have the"
            " image embedding that training needs: choose one of those."
        )
    if pick(model_cfg["text_cfg"], ["hf_model_name"], path).get("hf_model_name"):
        raise UserError(
            f"{path}: the text tower is built from another repository,"
            f" {model_cfg['text_cfg']['hf_model_name']}, which is not read here: choose a model"
            " with open_clip's own text tower"
        )
    model_cfg = dict(only(model_cfg, _TOP, path, "model_cfg"))
    for name, allowed in (("vision_cfg", _VISION), ("text_cfg", _TEXT)):
        tower = dict(only(model_cfg[name], allowed, path, name))
        for key in _INNER.keys() & tower.keys():
            inner = only(tower[key] or {}, _INNER[key], path, f"{name}.{key}")
            if not isinstance(inner.get("eps", 0.0), int | float):
                raise UserError(f"{path}: {name}.{key}.eps must be a number, got {inner['eps']!r}")
        tower.pop("output_tokens", None)  # the towers' own default; DCR asks for tokens by itself
        model_cfg[name] = tower
    _check_timm(model_cfg, path)
    return model_cfg


def _check_timm(model_cfg: dict[str, Any], path: Path) -> None:
    import timm

    vision = model_cfg["vision_cfg"]
    name = vision.get("timm_model_name")
    if "timm_model_pretrained" in vision:
        vision["timm_model_pretrained"] = False
    if not name:
        return
    if (
        not isinstance(name, str)
        or not name.replace("_", "").replace(".", "").isalnum()
        or not timm.is_model(name)
    ):
        raise UserError(
            f"{path}: timm_model_name must be the name of a model in timm, got {name!r}"
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
    path = Path(pretrained) if Path(pretrained).is_file() else _tag_file(source, name, pretrained)
    tag = (
        open_clip.get_pretrained_cfg(name, pretrained)
        if path != Path(pretrained)
        else _published_as(name, path)
    )
    _set_activation(source, name, model_cfg, path, tag)
    preprocess_cfg = pick(tag or _shared_by_tags(name), _PREPROCESS, config_path)
    return OpenClipSource(
        model_cfg, path, config_path, preprocess_cfg, model_cfg["text_cfg"].get("hf_tokenizer_name")
    )


def _tag_file(source: str, name: str, pretrained: str) -> Path:
    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if not tag:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise UserError(
            f"Backbone {source}: {name} has no pretrained tag or file {pretrained}; its tags are"
            f" {tags}."
        )
    path = cached_tag_file(tag)
    if path is None:
        raise UserError(f"Backbone {source} is not on this machine: get it with `{FETCH}`.")
    return path


def cached_tag_file(tag: dict[str, Any]) -> Path | None:
    """Return the local file of ``tag``, an entry of open_clip's table, None if it was never
    downloaded.
    """
    repo_id, filename = os.path.split(tag.get("hf_hub", ""))
    for candidate in (
        [filename] if filename else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    ):
        found = try_to_load_from_cache(repo_id, candidate) if repo_id else None
        if isinstance(found, str):
            return Path(found)
    downloaded = (
        Path.home() / ".cache" / "clip" / os.path.basename(tag.get("url", ""))
    )  # where open_clip puts them
    return downloaded if downloaded.is_file() else None


def _published_as(name: str, path: Path) -> dict[str, Any]:
    """Return the entry of open_clip's table under whose file name a file lies here, empty if
    there is none.
    """
    plain = name.removesuffix(_QUICK)
    for model in (plain, plain + _QUICK):
        for tag in open_clip.list_pretrained_tags_by_model(model):
            entry = open_clip.get_pretrained_cfg(model, tag)
            if entry.get("url") and os.path.basename(entry["url"]) == path.name:
                return entry
    return {}


def _shared_by_tags(name: str) -> dict[str, Any]:
    """Return what the published weights of a model all agree on, for a file that says nothing
    about itself.
    """
    tags = open_clip.list_pretrained_tags_by_model(name)
    first, *others = [open_clip.get_pretrained_cfg(name, tag) for tag in tags] or [{}]
    return {
        key: value
        for key, value in first.items()
        if all(other.get(key) == value for other in others)
    }


def _set_activation(
    source: str, name: str, model_cfg: dict[str, Any], path: Path, tag: dict[str, Any]
) -> None:
    """Put into ``model_cfg`` the activation that the weights were trained with, or warn that nobody
    knows it.

    An archive's program shows it, and open_clip's table knows it of what it lists; a file of
    tensors says nothing. timm's towers have the activation of their name.
    """
    if "timm_model_name" in model_cfg["vision_cfg"]:
        return
    named = bool(model_cfg.get("quick_gelu"))
    told = activation_of(path) if is_torchscript(path) else None
    if told is None and tag:
        told = bool(tag.get("quick_gelu"))
    if told is None and not name.endswith(_QUICK):
        quick = name + _QUICK
        hint = (
            f"; weights of OpenAI, MetaCLIP and DFN need {quick}"
            if quick in open_clip.list_models()
            else ""
        )
        _LOG.warning(
            "Backbone %s: the file does not say which activation its weights were trained with; %s"
            " is taken%s",
            *(source, _activation(named), hint),
        )
    elif told not in (None, named):
        model_cfg["quick_gelu"] = told
        _LOG.info(
            "Backbone %s: its weights were trained with %s, which is taken",
            source,
            _activation(told),
        )


def _activation(quick: bool) -> str:
    return "quick_gelu" if quick else "gelu"
