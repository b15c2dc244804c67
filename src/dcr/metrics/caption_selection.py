"""Caption selection: of k images and m captions, does an encoder tell which belong together?

A *pairing* lists which image and which caption of a group belong together. An image or caption may
have several partners, and one without any is there to mislead. Winoground's rules (Thrush et al.,
CVPR 2022, arXiv 2204.03162), for any k, m and pairing:

- image_score: each caption ranks its images above all others of the group. With two images and two
  captions this is MMVP-VLM's rule.
- text_score: each image ranks its captions above all others. SugarCrepe, ARO, What'sUp and
  SugarCrepe++ (its image-text task) are scored so.
- group_score: both.
- group_match: of all assignments of images to captions, one to one, the right one has the highest
  sum of similarities (test-time matching, Zhu et al., arXiv 2510.07632). It asks for less than
  group_score, which implies it, and guessing reaches more.

A tie is a miss: what cannot tell images or captions apart has not told which belong together, so a
constant encoder scores 0. Where CLIP_benchmark breaks a tie, it takes the first candidate, which is
the right one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from dcr.metrics.embeddings import normalize, weighted_mean

RULES = ("image_score", "text_score", "group_score", "group_match")
MAX_PAIRS = 12
"""Of a group whose pairing is not one to one; the chance of more is not counted out."""

Pairing = tuple[tuple[int, int], ...]
"""(image, caption) of each pair, by their places in the group, from 0."""


def compare_groups(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Return the cosines (G, k, m), float32, of every image and caption of each group.

    Dot products are accumulated in float64 and rounded to float32, so that equal images tie
    whatever the order of summation.

    Args:
        images, texts: embeddings of G groups, (G, k, d) and (G, m, d).

    Raises:
        ValueError: the shapes do not fit together, or a value is not finite.
    """
    if (
        images.ndim != 3
        or texts.ndim != 3
        or (len(images), images.shape[2]) != (len(texts), texts.shape[2])
    ):
        raise ValueError(
            f"images and texts must be (G, k, d) and (G, m, d), got {images.shape}, {texts.shape}"
        )
    cosines = np.einsum("gid,gtd->git", normalize(images), normalize(texts), dtype=np.float64)
    return np.asarray(cosines, dtype=np.float32)


def answer_groups(similarities: np.ndarray, pairing: Pairing) -> dict[str, np.ndarray]:
    """Return by rule which groups are answered right, (G,) bool; ties are misses.

    A rule that leaves nothing to choose, as image_score does with one image, is answered right
    always; see `rules_of`. ``group_match`` is there only for a pairing that is an assignment.

    Args:
        similarities: (G, k, m), of each group's images and captions, all of one pairing.
        pairing: which belong together.

    Raises:
        ValueError: the pairing names no place of the group.
    """
    right = right_cells(similarities.shape[1], similarities.shape[2], pairing)
    image_score = _rank_right_first(similarities.transpose(0, 2, 1), right.T)
    text_score = _rank_right_first(similarities, right)
    answers = {
        "image_score": image_score,
        "text_score": text_score,
        "group_score": image_score & text_score,
    }
    if is_assignment(right):
        answers["group_match"] = np.array([_is_best(group, pairing) for group in similarities])
    return answers


def right_cells(num_images: int, num_captions: int, pairing: Pairing) -> np.ndarray:
    """Return which cells (k, m) of a group's table are pairs."""
    right = np.zeros((num_images, num_captions), dtype=bool)
    for image, caption in pairing:
        if not (0 <= image < num_images and 0 <= caption < num_captions):
            raise ValueError(
                f"pair ({image}, {caption}) names no image and caption of a group of"
                f" {num_images} and {num_captions}"
            )
        right[image, caption] = True
    if not right.any():
        raise ValueError("a pairing must hold one pair at least, got none")
    return right


def _rank_right_first(similarities: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return per group of (G, a, b) whether every row's right cells exceed all its wrong ones.

    Rows without a right cell do not count.
    """
    asked = right.any(axis=1)
    lowest_right = np.where(right, similarities, np.inf).min(axis=2)
    highest_wrong = np.where(right, -np.inf, similarities).max(axis=2)
    return np.asarray((lowest_right > highest_wrong)[:, asked].all(axis=1))


def is_assignment(right: np.ndarray) -> bool:
    """Tell whether the pairs give each of the fewer (images or captions) a partner of its own."""
    return bool(
        right.sum() == min(right.shape)
        and right.sum(axis=0).max() == 1
        and right.sum(axis=1).max() == 1
    )


def _is_best(similarities: np.ndarray, pairing: Pairing) -> bool:
    """Tell whether the pairing has a higher sum (k, m) than every other assignment.

    Another assignment lacks one of the pairs, so the best one without each pair is compared with
    it. Sums are exact (``math.fsum``), so that ties do not depend on the order of summation.
    """
    table = np.asarray(similarities, dtype=np.float64)
    own = math.fsum(table[cell] for cell in pairing)
    for cell in pairing:
        without = table.copy()
        without[cell] = -np.inf
        try:
            rows, columns = linear_sum_assignment(without, maximize=True)
        except ValueError:  # one image and one caption: there is no other assignment
            continue
        if math.fsum(without[rows, columns]) >= own:
            return False
    return True


def selection_scores(
    correct: Mapping[str, np.ndarray], counts: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return the share of groups that are answered right, by rule.

    Args:
        correct: (G,) bool by rule.
        counts: (..., G), how often each group is drawn; once by default.
    """
    return {rule: weighted_mean(answers, counts) for rule, answers in correct.items()}


def clip_benchmark_scores(correct: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return ``image_acc``, ``text_acc`` and ``acc``, CLIP_benchmark's names for the three rules.

    Its task ``image_caption_selection`` calls image_score, text_score and group_score so.

    A rule that leaves nothing to choose counts as answered right there too: with one image
    ``image_acc`` is 1 and ``acc`` is ``text_acc``. Ties are misses here, and there the first
    candidate's.

    Args:
        correct: (G,) bool by rule, of all groups; see `answer_groups`.
    """
    names: Sequence[tuple[str, str]] = (
        ("image_acc", "image_score"),
        ("text_acc", "text_score"),
        ("acc", "group_score"),
    )
    return {name: float(np.mean(correct[rule])) for name, rule in names}
