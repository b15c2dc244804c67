"""Gets a recipe's models from where they are published, verifies them, and says what they are."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcr.data.hub_files import Kind, files_in, needed_files
from dcr.data.sources import (
    LOCAL,
    HubModel,
    backbone_location,
    backbone_model,
    cached_folder,
    diffusion_models,
    parse_hub_model,
)
from dcr.errors import UserError, first_line
from dcr.models.backbones import check_backbone
from dcr.models.backbones.families import find_family
from dcr.models.diffusion_source import check_diffusion
from dcr.models.hub_record import check_hashes, describe, licence_of, warn_of_changes

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

_LOG = logging.getLogger(__name__)


def fetch_models(
    sources: dict[str, str], expected_sha256: dict[str, str], previous: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Download what is not here yet, with progress, hash every file, and log sizes and licences.

    Args:
        sources: ``diffusion``, ``backbone`` and further encoders, each as a recipe names it.
        expected_sha256: {file inside a model's folder: sha256} that must hold.
        previous: what this function returned last time; a file that changed since is logged as a
            warning.

    Returns:
        For each model ``source``, ``location``, ``revision`` (the commit, None for local ones),
        ``licence`` and ``files`` {name: {bytes, sha256}}.

    Raises:
        UserError: a model cannot be had, a folder holds none or one that cannot be used, a file is
            damaged, or a hash is not the expected one.
    """
    records = {}
    for role, source in sources.items():
        location, revision = (
            _fetch_diffusion(source) if role == "diffusion" else _fetch_backbone(source)
        )
        names = _files_of(role, source, location)
        record = {
            "source": source,
            "location": str(location),
            "revision": revision,
            **describe(location, names),
        }
        check_hashes(record, expected_sha256)
        warn_of_changes(record, previous.get(role, {}))
        _check_model(role, source, location)
        size = sum(file["bytes"] for file in record["files"].values())
        _LOG.info(
            "%s: %s, %.2f GB in %d verified files, licence %s",
            *(role, source, size / 1e9, len(record["files"]), record["licence"]),
        )
        records[role] = record
    absent = set(expected_sha256) - {
        name for record in records.values() for name in record["files"]
    }
    if absent:
        raise UserError(f"models.sha256 names {', '.join(sorted(absent))}, which no model has")
    return records


def _files_of(role: str, source: str, location: Path) -> list[str]:
    """Return the names of the files that loading reads; UserError where a folder holds no model."""
    if location.is_file():
        return [location.name]
    if not location.is_dir():
        raise UserError(f"{role} {source}: there is no such folder: check the path")
    family = None if role == "diffusion" else find_family(backbone_location(source))
    names = files_in(location)
    try:
        return needed_files("diffusers", names) if family is None else family.needed_files(names)
    except UserError as error:
        raise UserError(f"{role} {source}: {location} holds no whole model, as {error}") from error


def _check_model(role: str, source: str, location: Path) -> None:
    """Compare configurations and weights.

    Raises:
        UserError: they make no model, or none that can be used.
    """
    if role == "diffusion":
        check_diffusion(location, source)
    else:
        check_backbone(source)


def _fetch_backbone(source: str) -> tuple[Path, str | None]:
    on_hub = backbone_model(source)
    if on_hub is not None:
        return _fetch(*on_hub)
    path = Path(source.removeprefix(LOCAL))
    if path.exists():
        return path, None
    return _fetch_open_clip_tag(source), None


def _fetch_diffusion(source: str) -> tuple[Path, str | None]:
    models = diffusion_models(source)
    if not models:
        return Path(source), None
    reasons = []
    for model in models:
        try:
            return _fetch(model, "diffusers")
        except UserError as error:
            reasons.append(str(error))
            _LOG.warning("%s", error)
    raise UserError(" ".join(reasons))


def _fetch(model: HubModel, kind: Kind) -> tuple[Path, str]:
    """Return the model's folder in the hub's cache, and its commit.

    The cache serves where the hub is out of reach.
    """
    from huggingface_hub import snapshot_download

    if not model.is_pinned:
        _LOG.warning("%s is not pinned to a commit: its files may change between runs", model)
    try:
        info = _model_info(model)
        names = needed_files(kind, [file.rfilename for file in info.siblings])
        size = sum(file.size or 0 for file in info.siblings if file.rfilename in names)
        _LOG.info("%s: %.2f GB, licence %s", model, size / 1e9, licence_of(info))
        # by its own name, for a branch is looked up in the cache by its name
        return (
            Path(snapshot_download(model.repo_id, revision=model.revision, allow_patterns=names)),
            info.sha,
        )
    except UserError as error:
        raise UserError(f"{model}: {error}") from error
    except Exception as error:  # whatever the network may raise
        folder = cached_folder(kind, model)
        if folder is not None:
            return folder, folder.name
        raise UserError(
            f"{model} cannot be downloaded ({first_line(error)}): check name, revision and network,"
            " or give a local folder."
        ) from error


def _fetch_open_clip_tag(source: str) -> Path:
    import open_clip

    name, _, tag = source.partition("/")
    entry = open_clip.get_pretrained_cfg(name, tag)
    if Path(tag).is_file():
        return Path(tag)
    if not entry:
        raise UserError(
            f"backbone {source}: there is neither such a folder or file, nor such a tag of"
            " open_clip"
        )
    tokenizer = open_clip.get_model_config(name)["text_cfg"].get("hf_tokenizer_name")
    if tokenizer and not Path(tokenizer).is_dir():
        _fetch_tokenizer(source, tokenizer)
    try:
        return Path(open_clip.download_pretrained(entry))
    except Exception as exc:  # whatever the network may raise
        raise UserError(
            f"backbone {source} cannot be downloaded by open_clip ({exc}): check the network"
        ) from exc


def _fetch_tokenizer(source: str, name: str) -> None:
    model = parse_hub_model(name)
    if model is None:
        raise UserError(
            f"backbone {source}: its tokenizer {name} is no repository <org>/<name> of the hub:"
            " choose another model"
        )
    _fetch(model, "tokenizer")


def _model_info(model: HubModel) -> ModelInfo:
    from huggingface_hub import HfApi
    from huggingface_hub.constants import is_offline_mode

    if is_offline_mode():
        raise OSError("HF_HUB_OFFLINE is set")
    return HfApi().model_info(model.repo_id, revision=model.revision, files_metadata=True)
