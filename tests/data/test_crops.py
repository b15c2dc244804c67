"""The crop that CLIP and the VAE share."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.v2 import functional as F

from dcr.data.crops import base_crop, center_crop, crop_box
from dcr.seeds import numpy_generator


def test_boxes_lie_inside_and_keep_scale_and_aspect():
    generator = numpy_generator(0, "boxes")
    for _ in range(500):
        left, top, right, bottom = crop_box((300, 240), (0.9, 1.0), (3 / 4, 4 / 3), generator)
        assert 0 <= left < right <= 300
        assert 0 <= top < bottom <= 240
        assert 0.895 <= (right - left) * (bottom - top) / (300 * 240) <= 1.0
        assert 0.74 <= (right - left) / (bottom - top) <= 1.34


@pytest.mark.parametrize("size", [(1000, 10), (10, 1000)])
def test_an_extreme_aspect_falls_back_to_the_centre(size):
    left, top, right, bottom = crop_box(size, (0.9, 1.0), (3 / 4, 4 / 3), numpy_generator(0))
    assert abs((left + right) - size[0]) <= 1
    assert abs((top + bottom) - size[1]) <= 1
    assert (right - left) / (bottom - top) == pytest.approx(
        4 / 3 if size[0] > size[1] else 3 / 4, abs=0.05
    )


def test_the_crop_depends_on_the_hash_alone():
    image = Image.fromarray(numpy_generator(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    one, again, other = (base_crop(image, 32, name, (0.5, 0.9)) for name in ("aa", "aa", "bb"))
    assert np.array_equal(one[0], again[0])
    assert one[1] == again[1] != other[1]
    assert one[0].shape == (32, 32, 3)
    assert one[0].dtype == np.uint8


def test_crops_of_one_image_differ_by_their_number():
    image = Image.fromarray(numpy_generator(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    boxes = {base_crop(image, 32, "aa", (0.3, 0.9), number).box for number in range(5)}
    assert len(boxes) == 5


def test_a_flip_mirrors_the_same_box():
    image = Image.fromarray(numpy_generator(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    plain, flipped = (
        base_crop(image, 32, "aa", (0.9, 1.0), 0, probability) for probability in (0.0, 1.0)
    )
    assert (plain.box, plain.flip, flipped.box, flipped.flip) == (plain.box, False, plain.box, True)
    assert np.array_equal(flipped.pixels, plain.pixels[:, ::-1])


@pytest.mark.parametrize("size", [(50, 40), (40, 50), (64, 64), (200, 33)])
def test_the_center_crop_is_that_of_open_clip(size):
    """torchvision resizes the shorter side and cuts then; here it is one resize, so borders may
    differ slightly.
    """
    image = Image.fromarray(numpy_generator(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
        size
    )
    expected = F.center_crop(
        F.resize(image, [32], interpolation=F.InterpolationMode.BICUBIC), [32, 32]
    )
    difference = np.abs(np.asarray(expected, dtype=int) - center_crop(image, 32).pixels)
    assert difference.mean() < 3
