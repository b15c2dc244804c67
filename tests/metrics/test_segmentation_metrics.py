"""Classes of pixels and of patches, against loops."""

import numpy as np
import pytest

from dcr.metrics.segmentation import (
    IGNORED,
    class_ious,
    patch_shares,
    pixel_counts,
    segmentation_scores,
)

CLASSES = 4


def random_masks(number, side, seed=0):
    generator = np.random.default_rng(seed)
    masks = generator.integers(0, CLASSES, (number, side, side)).astype(np.uint8)
    masks[generator.random(masks.shape) < 0.2] = IGNORED
    return masks


def miou_by_loops(pairs):
    """Return the mean IoU of (mask, predicted) pairs, pixel by pixel."""
    matrix = np.zeros((CLASSES, CLASSES), dtype=int)
    for mask, predicted in pairs:
        for truth, found in zip(mask.ravel(), predicted.ravel(), strict=True):
            if truth != IGNORED:
                matrix[truth, found] += 1
    ious = []
    for index in range(CLASSES):
        union = matrix[index].sum() + matrix[:, index].sum() - matrix[index, index]
        if union:
            ious.append(matrix[index, index] / union)
    return np.mean(ious), np.trace(matrix) / matrix.sum()


def test_shares_of_patches_are_those_of_loops():
    masks = random_masks(3, 12)
    shares = patch_shares(masks, 3, CLASSES)
    assert shares.shape == (3, 9, CLASSES)
    for image in range(3):
        for row in range(3):
            for column in range(3):
                part = masks[image, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
                wanted = [(part == index).sum() / 16 for index in range(CLASSES)]
                np.testing.assert_allclose(shares[image, 3 * row + column], wanted, atol=1e-7)


def test_a_patch_of_one_pixel_and_one_that_is_ignored():
    shares = patch_shares(np.array([[[2, IGNORED], [0, 2]]], dtype=np.uint8), 2, 3)
    assert shares[0].tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("mask", "patches", "told"),
    [(np.zeros((1, 5, 5)), 2, "do not divide 5"), (np.full((1, 4, 4), 9), 2, "below 4")],
)
def test_grids_and_classes_that_do_not_fit_are_refused(mask, patches, told):
    with pytest.raises(ValueError, match=told):
        patch_shares(mask.astype(np.uint8), patches, CLASSES)


def test_scores_are_those_of_a_confusion_matrix():
    masks = random_masks(6, 10)
    predicted = np.random.default_rng(1).integers(0, CLASSES, masks.shape)
    pairs = list(zip(masks, predicted, strict=True))
    counts = np.array([pixel_counts(*pair, CLASSES) for pair in pairs])
    scores = segmentation_scores(counts)
    assert (scores["miou"], scores["pixel_acc"]) == pytest.approx(miou_by_loops(pairs))


def test_a_resample_is_scored_as_if_its_images_stood_there_as_often_as_drawn():
    masks = random_masks(5, 8)
    predicted = np.random.default_rng(1).integers(0, CLASSES, masks.shape)
    counts = np.array([pixel_counts(*pair, CLASSES) for pair in zip(masks, predicted, strict=True)])
    draws = np.array([[2.0, 0, 1, 0, 2], [0, 5, 0, 0, 0]])
    scores = segmentation_scores(counts, draws)
    for row, drawn in enumerate(draws.astype(int)):
        pairs = [(masks[i], predicted[i]) for i in np.repeat(np.arange(5), drawn)]
        miou, accuracy = miou_by_loops(pairs)
        assert scores["miou"][row] == pytest.approx(miou)
        assert scores["pixel_acc"][row] == pytest.approx(accuracy)


def test_a_class_that_is_neither_there_nor_predicted_is_left_out():
    mask = np.zeros((2, 2), dtype=np.uint8)
    counts = pixel_counts(mask, np.array([[0, 0], [0, 3]]), CLASSES)
    np.testing.assert_array_equal(class_ious(counts), [3 / 4, np.nan, np.nan, 0])
    assert segmentation_scores(counts[None])["miou"] == pytest.approx(3 / 8)


def test_a_draw_without_a_class_takes_that_class_as_it_is_in_all_images():
    masks = np.array([np.full((2, 2), index, dtype=np.uint8) for index in (0, 1, 0)])
    predicted = np.array([[[0, 0], [0, 1]], [[1, 1], [0, 0]], [[0, 0], [0, 0]]])
    counts = np.array([pixel_counts(*pair, CLASSES) for pair in zip(masks, predicted, strict=True)])
    # Class 0: 7 of 10; class 1: 2 of 5. The third image holds class 0 alone, all of it right.
    assert segmentation_scores(counts)["miou"] == pytest.approx((7 / 10 + 2 / 5) / 2)
    drawn = segmentation_scores(counts, np.array([[0, 0, 3.0], [1, 1, 1]]))
    np.testing.assert_allclose(drawn["miou"], [(1 + 2 / 5) / 2, (7 / 10 + 2 / 5) / 2])


def test_one_pixel_that_counts():
    mask = np.full((3, 3), IGNORED, dtype=np.uint8)
    mask[1, 2] = 1
    right = pixel_counts(mask, np.ones((3, 3)), CLASSES)
    assert right.tolist() == [[0, 1, 0, 0]] * 3
    assert segmentation_scores(right[None])["miou"] == 1
    wrong = pixel_counts(mask, np.zeros((3, 3)), CLASSES)
    assert segmentation_scores(wrong[None])["miou"] == 0


def test_nothing_that_counts_has_no_score():
    counts = pixel_counts(np.full((2, 2), IGNORED, dtype=np.uint8), np.zeros((2, 2)), CLASSES)
    assert counts.sum() == 0
    assert all(np.isnan(value) for value in segmentation_scores(counts[None]).values())


def test_a_mask_and_a_prediction_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        pixel_counts(np.zeros((2, 2), dtype=np.uint8), np.zeros((3, 3)), CLASSES)
