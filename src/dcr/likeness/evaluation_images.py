"""Features of the evaluation images, which training must not see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dcr.data.benchmark_sets.parts import Part, Sample, digest
from dcr.errors import UserError
from dcr.fingerprints import code_hash, fingerprint
from dcr.metrics.embeddings import normalize

if TYPE_CHECKING:
    import pandas as pd

    from dcr.data.benchmark_sets import BenchmarkSet
    from dcr.evaluation.embedding import Embedder


@dataclass(frozen=True)
class EvaluationFeatures:
    """The images of all evaluation sets, by one encoder.

    Attributes:
        names: of E images, ``<set>/<id or key>``.
        vectors: (E, d) float32, of unit length, zeros where the encoder gives zeros.
    """

    names: list[str]
    vectors: np.ndarray

    @classmethod
    def none(cls) -> EvaluationFeatures:
        """Return those of no image."""
        return cls([], np.empty((0, 0), np.float32))

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 of names and vectors."""
        return fingerprint(
            names=self.names, vectors=hashlib.sha256(self.vectors.tobytes()).hexdigest()
        )


def embed_evaluation_images(
    embedder: Embedder, sets: Mapping[str, BenchmarkSet], images: pd.DataFrame
) -> EvaluationFeatures:
    """Embed the images that validation looks for, too; those in the embedder's cache are read.

    Args:
        embedder: the encoder.
        sets: the evaluation sets, by name.
        images: rows of `dcr.validation.contamination.SCHEMA`: what could not be decoded is none of
            them, and is not looked for here either.

    Raises:
        UserError: a set no longer holds one of ``images``.
    """
    known = set(zip(images["image"], images["sha256"], strict=True))
    names: list[str] = []
    vectors = [np.empty((0, embedder.backbone.embed_dim), np.float32)]
    for name, part in ((name, part) for name, one in sets.items() for part in one.tested):
        found = [_name_and_hash(name, sample) for sample in part.samples()]
        places = tuple(place for place, image in enumerate(found) if image in known)
        if places:
            chosen = part if len(places) == len(found) else _Chosen(part, part.name, places)
            vectors.append(embedder.images(chosen, f"{name} test"))
            names += [found[place][0] for place in places]
    if len(names) < len(images):
        raise UserError(
            f"{len(images) - len(names)} evaluation images changed since validation; run"
            " `kedro run --pipelines validation`"
        )
    return EvaluationFeatures(names, normalize(np.concatenate(vectors)))


def _name_and_hash(name: str, sample: Sample) -> tuple[str, str]:
    return f"{name}/{sample.key}", hashlib.sha256(sample.content).hexdigest()


@dataclass(frozen=True)
class _Chosen(Part):
    """Some samples of a part, by their places in it."""

    part: Part
    name: str
    places: tuple[int, ...]

    def _hash(self) -> str:
        reader = code_hash(type(self.part))
        return digest([reader, self.part.fingerprint, *map(str, self.places)])

    def samples(self) -> Iterator[Sample]:
        chosen = frozenset(self.places)
        return (sample for place, sample in enumerate(self.part.samples()) if place in chosen)
