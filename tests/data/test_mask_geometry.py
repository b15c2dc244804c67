"""Masks lie where the tower sees their images."""

import numpy as np
import pytest
import torch
from PIL import Image

from dcr.data.mask_geometry import place_mask
from dcr.data.transforms import Preprocessing

OUTSIDE = 255


def preprocessing(mode, size=24):
    return Preprocessing(size, (0.0,) * 3, (1.0,) * 3, "bilinear", mode)


def blocks(height, width):
    """Return a mask of large blocks of three classes."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 3, (height // 16 + 1, width // 16 + 1))
    return np.kron(coarse, np.ones((16, 16))).astype(np.uint8)[:height, :width]


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("shape", [(96, 96), (96, 144), (130, 61), (24, 24), (7, 12)])
def test_a_mask_goes_the_way_of_its_image(mode, shape):
    classes = blocks(*shape)
    image = Image.fromarray(np.repeat((classes * 100)[..., None], 3, axis=2))
    seen = preprocessing(mode)(image)[0].numpy() * 255 / 100
    placed = place_mask(classes, preprocessing(mode), OUTSIDE)
    assert placed.shape == seen.shape == (24, 24)
    assert set(np.unique(placed)) <= {0, 1, 2, OUTSIDE}
    inside = placed != OUTSIDE
    assert (inside.all()) == (mode != "longest" or shape[0] == shape[1])
    assert np.abs(seen[~inside]).max(initial=0) == 0  # what was padded
    # Away from the borders of blocks, where the image mixes colours, both are the same.
    flat = np.abs(seen - np.rint(seen)) < 0.02
    assert flat.mean() > 0.3
    assert (placed == np.rint(seen))[inside & flat].mean() > 0.97


def test_classes_are_never_mixed():
    stripes = np.tile(np.array([0, 200], np.uint8), (64, 32))
    placed = place_mask(stripes, preprocessing("squash", 9), OUTSIDE)
    assert set(np.unique(placed)) <= {0, 200}


def test_the_towers_own_preprocessing_is_untouched():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8))
    mode = preprocessing("shortest")
    before = mode(image)
    place_mask(blocks(40, 50), mode, OUTSIDE)
    torch.testing.assert_close(preprocessing("shortest")(image), before, rtol=0, atol=0)
