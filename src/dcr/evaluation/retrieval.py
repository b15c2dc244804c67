"""What text and image still have in common: retrieval and alignment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dcr.data.benchmark_sets import RetrievalSet
from dcr.evaluation.embedding import Embedder
from dcr.evaluation.features import measure_drift
from dcr.evaluation.long_texts import CutTexts, count_cut
from dcr.evaluation.overriding import override_captions
from dcr.evaluation.results import EvaluationOptions, Items, Result, outcomes_of, score
from dcr.metrics.geometry import alignment_of_pairs
from dcr.metrics.retrieval import alignment_scores, rank_matches, retrieval_scores

_UNIT = "image with its captions"


class _Pairs(NamedTuple):
    """Embeddings of images (N, d) and captions (T, d), and how they belong together.

    Beside them are the images' keys, each caption's image, (T,), and the captions that are cut.
    """

    images: np.ndarray
    texts: np.ndarray
    keys: list[str]
    owner: np.ndarray
    cut: CutTexts


def evaluate_retrieval(
    embedder: Embedder,
    dataset: RetrievalSet,
    options: EvaluationOptions,
    reference: Embedder | None = None,
) -> Iterator[Result]:
    """Recall at K both ways, and how far paired images and texts lie apart.

    With ``options.compare_features`` also the drift of the images' features from ``reference``'s.

    Args:
        embedder: the encoder.
        dataset: the set, of which the test split is read.
        options: see `EvaluationOptions`; ``recall_at`` are the K.
        reference: the encoder that features are compared with; None leaves the drift out.
    """
    pairs = _embed(embedder, dataset)
    yield _measure_recall(dataset, pairs, options)
    yield _measure_alignment(dataset, pairs, options)
    if options.compare_features and reference is not None:
        before = reference.split(dataset.splits["test"], f"{dataset.name} test")
        items = Items("image", pairs.keys)
        yield measure_drift("retrieval_drift", dataset.name, before, pairs.images, items, options)


def _embed(embedder: Embedder, dataset: RetrievalSet) -> _Pairs:
    images = embedder.split(dataset.splits["test"], f"{dataset.name} test")
    keys, captions, owner = embedder.words(
        (dataset.fingerprint, "captions"), lambda: _read_captions(dataset)
    )
    if dataset.is_overridden:
        kept, captions, owner = override_captions(dataset, keys, captions, owner)
        images = images[kept]
        keys = [keys[place] for place in kept]
    texts = embedder.texts(captions, f"{dataset.name} captions")
    return _Pairs(images, texts, keys, owner, count_cut(embedder.backbone, captions, "captions"))


def _read_captions(dataset: RetrievalSet) -> tuple[list[str], list[str], np.ndarray]:
    """Return the images' keys (N,), all captions (T,), and each caption's image (T,)."""
    keys: list[str] = []
    captions: list[str] = []
    owner: list[int] = []
    for number, sample in enumerate(dataset.samples("test")):
        keys.append(sample.key)
        captions += sample.captions
        owner += [number] * len(sample.captions)
    return keys, captions, np.array(owner)


def _measure_recall(dataset: RetrievalSet, pairs: _Pairs, options: EvaluationOptions) -> Result:
    images, texts, keys, owner, cut = pairs
    every_image = np.arange(len(keys))
    image_ranks = rank_matches(texts, images, owner, every_image)
    text_ranks = rank_matches(images, texts, every_image, owner)

    def recalls(counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return the recalls, images with their captions drawn ``counts`` (..., N) times."""
        return retrieval_scores(image_ranks, text_ranks, owner, options.recall_at, counts)

    outcomes = outcomes_of(keys, ["text_retrieval_recall@1"] * len(keys), text_ranks < 1)
    hits = np.bincount(owner, weights=image_ranks < 1) / np.bincount(owner)
    outcomes += outcomes_of(keys, ["image_retrieval_recall@1"] * len(keys), hits)
    scored = score(recalls, Items(_UNIT, keys), options.bootstrap)
    return Result(
        "retrieval",
        dataset.name,
        "zeroshot_retrieval",
        **scored,
        outcomes=outcomes,
        extra={"captions_cut": cut.share},
        notes=cut.tell(),
    )


def _measure_alignment(dataset: RetrievalSet, pairs: _Pairs, options: EvaluationOptions) -> Result:
    images, texts, keys, owner, _ = pairs

    def alignment(counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return the alignment, images with their captions drawn ``counts`` (..., N) times."""
        scores = alignment_scores(images, texts, owner, counts)
        if options.compare_features:
            scores |= alignment_of_pairs(images, texts, owner, counts)
        return scores

    scored = score(alignment, Items(_UNIT, keys), options.bootstrap)
    return Result("text_alignment", dataset.name, "text_alignment", **scored)
