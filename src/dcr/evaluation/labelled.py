"""Embeddings of a classification set beside its labels and attributes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcr.data.benchmark_sets import ClassificationSet
from dcr.errors import UserError
from dcr.evaluation.embedding import Embedder
from dcr.evaluation.overriding import override_labels


@dataclass(frozen=True)
class LabelledFeatures:
    """Embeddings (N, d) of one split with their keys, labels (N,) and attributes, (N,) by name."""

    embeddings: np.ndarray
    keys: list[str]
    labels: np.ndarray
    attributes: dict[str, np.ndarray]


def embed_split(embedder: Embedder, dataset: ClassificationSet, split: str) -> LabelledFeatures:
    """Return the embeddings of one split with its labels and attributes.

    Args:
        embedder: the encoder.
        dataset: the set.
        split: ``train`` or ``test``; the set must have it.

    Raises:
        UserError: a sample is broken, or not all name the same attributes.
    """
    embeddings = embedder.split(dataset.splits[split], f"{dataset.name} {split}")
    keys, labels, attributes = embedder.words(
        (dataset.fingerprint, split), lambda: _read_labels(dataset, split)
    )
    if not dataset.is_overridden or split != "test":
        return LabelledFeatures(embeddings, keys, labels, attributes)
    kept, labels = override_labels(dataset, keys, labels)
    return LabelledFeatures(
        embeddings[kept],
        [keys[place] for place in kept],
        labels[kept],
        {name: values[kept] for name, values in attributes.items()},
    )


def _read_labels(
    dataset: ClassificationSet, split: str
) -> tuple[list[str], np.ndarray, dict[str, np.ndarray]]:
    """Return keys (N,), labels (N,) and attributes, (N,) by name."""
    keys = []
    labels = []
    attributes = []
    for sample in dataset.samples(split):
        keys.append(sample.key)
        labels.append(sample.label)
        attributes.append(sample.attributes or {})
    for key, found in zip(keys, attributes, strict=True):
        if set(found) != set(attributes[0]):
            raise UserError(
                f"{dataset.folder}/{split}: samples {keys[0]!r} and {key!r} name different"
                " attributes, but probes need the same in every sample"
            )
    columns = {name: np.array([found[name] for found in attributes]) for name in attributes[0]}
    return keys, np.array(labels), columns
