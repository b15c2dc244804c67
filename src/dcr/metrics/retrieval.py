"""Image-text retrieval, several captions an image, and how well the two modalities stay aligned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dcr.metrics.embeddings import normalize, row_parts, weighted_mean


def rank_matches(
    queries: np.ndarray, items: np.ndarray, query_owner: np.ndarray, item_owner: np.ndarray
) -> np.ndarray:
    """Return how many wrong items score as high as a query's best right one or higher: (Q,) int.

    Args:
        queries: (Q, d) embeddings; items: (M, d) embeddings.
        query_owner, item_owner: (Q,) and (M,) ints; an item is right for a query if they are equal,
            and every query has such an item.
    """
    queries = normalize(queries)
    items = normalize(items)
    ranks = np.empty(len(queries), dtype=np.int64)
    for part in row_parts(len(queries), len(items)):
        scores = queries[part] @ items.T
        right = query_owner[part, None] == item_owner[None, :]
        if not right.any(axis=1).all():
            raise ValueError("every query must have a matching item, got one without")
        best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
        ranks[part] = ((scores >= best) & ~right).sum(axis=1)
    return ranks


def retrieval_scores(
    image_ranks: np.ndarray,
    text_ranks: np.ndarray,
    caption_owner: np.ndarray,
    recall_at: Sequence[int],
    counts: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return ``image_retrieval_recall@K`` and ``text_retrieval_recall@K`` for each K.

    In image retrieval captions find images. An item is an image with all its captions: captions of
    one image are drawn together.

    Args:
        image_ranks: (T,) rank of each caption's image.
        text_ranks: (N,) rank of each image's best caption.
        caption_owner: (T,) index of the image that a caption belongs to.
        recall_at: the K.
        counts: (..., N).
    """
    num_images = len(text_ranks)
    captions = np.bincount(caption_owner, minlength=num_images)
    scores = {}
    for k in recall_at:
        hits = np.bincount(caption_owner, weights=image_ranks < k, minlength=num_images)
        scores[f"image_retrieval_recall@{k}"] = weighted_mean(hits, counts) / weighted_mean(
            captions, counts
        )
    for k in recall_at:
        scores[f"text_retrieval_recall@{k}"] = weighted_mean(text_ranks < k, counts)
    return scores


def alignment_scores(
    images: np.ndarray,
    texts: np.ndarray,
    caption_owner: np.ndarray,
    counts: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return ``paired_cosine`` and ``modality_gap`` of images and their captions.

    paired_cosine: mean cosine of a caption and its image, in [-1, 1]; it falls as one tower drifts.
    modality_gap: distance of the two modalities' mean unit vectors, in [0, 2] (Liang et al.,
    NeurIPS 2022).

    Args:
        images, texts: embeddings, (N, d) and (T, d).
        caption_owner: (T,) index of the image that a caption belongs to.
        counts: (..., N), how often each image is drawn, with its captions; once by default.
    """
    images = normalize(images)
    texts = normalize(texts)
    counts = np.ones(len(images)) if counts is None else np.asarray(counts, dtype=np.float64)
    captions = np.bincount(caption_owner, minlength=len(images))
    cosines = np.sum(images[caption_owner] * texts, axis=1, dtype=np.float64)
    sums = np.zeros(images.shape, dtype=np.float64)
    np.add.at(sums, caption_owner, texts)
    image_mean = counts @ images.astype(np.float64) / counts.sum(axis=-1)[..., None]
    text_mean = counts @ sums / (counts @ captions)[..., None]
    cosine_sums = np.bincount(caption_owner, weights=cosines, minlength=len(images))
    return {
        "paired_cosine": weighted_mean(cosine_sums, counts) / weighted_mean(captions, counts),
        "modality_gap": np.linalg.norm(image_mean - text_mean, axis=-1),
    }
