"""What is kept of a model's files (sizes, hashes, licence), and what they must agree with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcr.errors import UserError
from dcr.files import sha256_file

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

_LOG = logging.getLogger(__name__)


def describe(location: Path, names: list[str]) -> dict[str, Any]:
    """Return licence and files, each with its size and sha256, of a model.

    Args:
        location: its folder, or its one file.
        names: of the files that count.

    Raises:
        UserError: a file in the hub's cache is not the one that the hub gave.
    """
    folder = location if location.is_dir() else location.parent
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
        for name in names
    }
    return {"licence": _licence(folder) if location.is_dir() else "unknown", "files": files}


def _sha256(path: Path) -> str:
    """Return a file's sha256; in the hub's cache it must be the one that the hub gave.

    There a file is a link whose target is named by the hub: a sha256, or for small files git's own
    hash.
    """
    digest = sha256_file(path)
    target = path.resolve()
    if path.is_symlink() and target.parent.name == "blobs":
        from huggingface_hub.utils.sha import git_hash

        is_git = len(target.name) == 40
        actual = git_hash(path.read_bytes()) if is_git else digest
        if len(target.name) in (40, 64) and actual != target.name:
            raise UserError(
                f"{path} is damaged, its hash is not the hub's: delete {target} and run this again"
            )
    return digest


def check_hashes(record: dict[str, Any], expected_sha256: dict[str, str]) -> None:
    """Refuse another file than the recipe was made for.

    Args:
        record: of a model, with ``source`` and what `describe` returned.
        expected_sha256: {file inside a model's folder: sha256} that must hold.

    Raises:
        UserError: one does not.
    """
    for name, expected in expected_sha256.items():
        file = record["files"].get(name)
        if file is not None and file["sha256"] != expected:
            raise UserError(
                f"{record['source']}: {name} has sha256 {file['sha256']}, models.sha256 expects"
                f" {expected}: it is another file than the recipe was made for"
            )


def warn_of_changes(record: dict[str, Any], previous: dict[str, Any]) -> None:
    """Log as warnings which files of a model's ``record`` differ from the ``previous`` one.

    Both are of the same source.
    """
    if previous.get("source") != record["source"]:
        return
    for name in _changed(record["files"], previous.get("files", {})):
        _LOG.warning("%s: %s is not the file that the last check saw", record["source"], name)


def _changed(files: dict[str, Any], previous: dict[str, Any]) -> Iterator[str]:
    return (name for name, file in files.items() if name in previous and previous[name] != file)


def _licence(folder: Path) -> str:
    """Return the licence that the folder's model card declares, else ``unknown``."""
    from huggingface_hub import ModelCard

    try:
        data = ModelCard.load(folder / "README.md").data
    except (OSError, ValueError):
        return "unknown"
    return str(data.get("license_name") or data.get("license") or "unknown")


def licence_of(info: ModelInfo) -> str:
    """Return the licence that a repository's ``info`` declares, else ``unknown``."""
    data = info.card_data or {}
    return str(data.get("license_name") or data.get("license") or "unknown")
