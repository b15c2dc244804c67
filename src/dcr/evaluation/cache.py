"""What was computed once for an encoder and a set: embeddings and results.

It stands in files named by all they depend on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from dcr.evaluation.results import Result
from dcr.files import atomic_path
from dcr.fingerprints import code_hash, fingerprint, json_hash, tensors_hash

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone

logger = logging.getLogger(__name__)

_EMBEDDINGS = "embeddings"


@dataclass(frozen=True)
class EncoderFingerprint:
    """Hex sha256 of an encoder's two sides.

    It covers weights, what else decides about features, code, and kind of device. Image embeddings
    depend on ``images`` alone and text embeddings on ``texts``: two encoders that share a tower
    share its embeddings.
    """

    images: str
    texts: str

    @classmethod
    def of(cls, backbone: Backbone) -> EncoderFingerprint:
        """Return the fingerprint of ``backbone`` as it is, with all that was merged into it."""
        state = backbone.model.state_dict(keep_vars=True)
        seen = {id(tensor) for tensor in backbone.visual.state_dict(keep_vars=True).values()}
        images = {name: tensor for name, tensor in state.items() if id(tensor) in seen}
        texts = {name: tensor for name, tensor in state.items() if id(tensor) not in seen}
        shared = {
            "settings": json_hash(backbone.settings()),
            "device": backbone.device.type,
            "code": code_hash("dcr.evaluation.embedding", type(backbone)),
        }
        return cls(
            fingerprint(weights=tensors_hash(images), **shared),
            fingerprint(weights=tensors_hash(texts), **shared),
        )

    @property
    def whole(self) -> str:
        """What results depend on."""
        return fingerprint(images=self.images, texts=self.texts)


class EvaluationCache:
    """A folder of embeddings (safetensors) and results (npz); several processes may use it at once.

    Files are written whole or not at all, and one that cannot be read is made again. Nothing is
    ever removed: the folder may be deleted at any time.

    Args:
        folder: made with the first file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def embeddings(
        self, key: str, compute: Callable[[], np.ndarray], description: str
    ) -> np.ndarray:
        """Return the embeddings (N, d), float32, kept under ``key``, or compute and keep them.

        Args:
            key: hex fingerprint of all that they depend on.
            compute: returns them, (N, d).
            description: written beside them for people who look into a file; one entry, since
                safetensors writes several in an order that changes from process to process.
        """
        from safetensors.numpy import save_file

        path = self._place(key, "safetensors")
        if (kept := _load_embeddings(path)) is not None:
            return kept
        embeddings = np.ascontiguousarray(compute(), dtype=np.float32)
        with atomic_path(path) as temporary:
            save_file({_EMBEDDINGS: embeddings}, temporary, metadata={"description": description})
        return embeddings

    def results(self, key: str, compute: Callable[[], list[Result]]) -> list[Result]:
        """Return the results kept under the fingerprint ``key``, or keep those of ``compute``."""
        path = self._place(key, "npz")
        if (kept := _load_results(path)) is not None:
            return kept
        results = compute()
        with atomic_path(path) as temporary:
            _save_results(temporary, results)
        return results

    def _place(self, key: str, extension: str) -> Path:
        return self.folder / f"{key}.{extension}"


def _load_embeddings(path: Path) -> np.ndarray | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        return None
    try:
        embeddings = load_file(path)[_EMBEDDINGS]
        if (
            embeddings.ndim == 2
            and embeddings.dtype == np.float32
            and np.isfinite(embeddings).all()
        ):
            return embeddings
    except (OSError, KeyError, ValueError, SafetensorError):
        pass
    logger.warning("%s holds no embeddings: it is made again", path)
    return None


def _save_results(path: Path, results: list[Result]) -> None:
    """Write all records as JSON, and beside them all replicates as one table (metrics, R)."""
    records = [result.to_record() for result in results]
    text = json.dumps(records, default=float).encode()
    rows = [values for result in results for values in result.replicates.values()]
    with path.open("wb") as file:
        np.savez(
            file,
            records=np.frombuffer(text, dtype=np.uint8),
            replicates=np.array(rows, dtype=np.float32),
        )


def _load_results(path: Path) -> list[Result] | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            records = json.loads(file["records"].tobytes())
            rows = list(file["replicates"])
        results = []
        for record in records:
            metrics = list(record["intervals"])
            own = rows[: len(metrics)]
            rows = rows[len(metrics) :]
            results.append(Result.from_record(record, dict(zip(metrics, own, strict=True))))
        return results
    except (OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, BadZipFile):
        logger.warning("%s holds no results: it is made again", path)
        return None
