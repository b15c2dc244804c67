"""The shared crop and the augmented view."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from dcr.seeds import numpy_generator, torch_generator
from dcr.transforms import ViewAugmentation, base_crop, center_crop, crop_box

NOTHING = {
    "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0,
    "horizontal_flip": 0.0, "vertical_flip": 0.0, "scale": (1.0, 1.0), "ratio": (1.0, 1.0),
}  # fmt: skip


def view(**changes):
    return ViewAugmentation(**NOTHING | changes)


@pytest.fixture
def pixels():
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


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
    assert (right - left) / (bottom - top) == pytest.approx(4 / 3 if size[0] > size[1] else 3 / 4, abs=0.05)


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
    plain, flipped = (base_crop(image, 32, "aa", (0.9, 1.0), 0, probability) for probability in (0.0, 1.0))
    assert (plain.box, plain.flip, flipped.box, flipped.flip) == (plain.box, False, plain.box, True)
    assert np.array_equal(flipped.pixels, plain.pixels[:, ::-1])


@pytest.mark.parametrize("size", [(50, 40), (40, 50), (64, 64), (200, 33)])
def test_the_center_crop_is_that_of_open_clip(size):
    """torchvision resizes the shorter side and cuts then; here it is one resize, so borders may differ slightly."""
    image = Image.fromarray(numpy_generator(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(size)
    expected = F.center_crop(F.resize(image, [32], interpolation=F.InterpolationMode.BICUBIC), [32, 32])
    difference = np.abs(np.asarray(expected, dtype=int) - center_crop(image, 32).pixels)
    assert difference.mean() < 3


def test_a_view_without_strength_is_the_image(pixels):
    assert torch.allclose(view()(pixels, torch_generator(0)), pixels, atol=1e-5)


def test_views_repeat_with_the_generator_and_differ_between_samples(pixels):
    augment = view(brightness=0.3, scale=(0.5, 0.9))
    same = pixels[:1].expand(4, -1, -1, -1)
    one, again = (augment(same, torch_generator(5)) for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.allclose(one[0], one[1], atol=1e-3)


def test_flips_are_torchvisions(pixels):
    assert torch.allclose(view(horizontal_flip=1.0)(pixels, torch_generator(0)), F.horizontal_flip(pixels), atol=1e-5)
    assert torch.allclose(view(vertical_flip=1.0)(pixels, torch_generator(0)), F.vertical_flip(pixels), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "operation"),
    [("brightness", F.adjust_brightness), ("contrast", F.adjust_contrast), ("saturation", F.adjust_saturation)],
)
def test_colour_jitter_is_torchvisions_with_the_drawn_factor(pixels, name, operation):
    column = ["brightness", "contrast", "saturation"].index(name)
    factors = 1 + (torch.rand(4, 10, generator=torch_generator(3))[:, column] * 2 - 1) * 0.4
    expected = torch.stack([operation(p, f.item()) for p, f in zip(pixels, factors, strict=True)])
    assert torch.allclose(view(**{name: 0.4})(pixels, torch_generator(3)), expected, atol=1e-4)


def test_hue_keeps_grey_and_luminance():
    grey = torch.full((2, 3, 4, 4), 0.5)
    assert torch.allclose(view(hue=0.5)(grey, torch_generator(0)), grey, atol=1e-3)
    soft = 0.5 + 0.1 * (torch.rand(2, 3, 8, 8, generator=torch_generator(1)) - 0.5)
    turned = view(hue=0.5)(soft, torch_generator(0))
    assert torch.allclose(F.rgb_to_grayscale(turned), F.rgb_to_grayscale(soft), atol=2e-3)
    assert not torch.allclose(turned, soft, atol=1e-2)


def test_a_crop_is_the_enlarged_part_of_the_image():
    """A horizontal ramp stays a ramp: its slope shrinks by the width of the crop, its values stay in range."""
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    out = view(scale=(0.25, 0.25))(ramp, torch_generator(2))[0, 0, 16]
    inside = out[4:-4]
    assert inside.diff().mean().item() == pytest.approx(0.5 / 31, rel=0.05)
    straight = torch.stack([inside, torch.arange(len(inside), dtype=torch.float32)])
    assert torch.corrcoef(straight)[0, 1] > 0.999  # PyTorch's bicubic kernel does not keep ramps exactly


def test_dark_pixels_survive_the_jitter(pixels):
    """The published code jitters normalised values, where everything below the mean is clamped away."""
    dark = pixels * 0.2
    out = view(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.05)(dark, torch_generator(0))
    assert torch.corrcoef(torch.stack([out.flatten(), dark.flatten()]))[0, 1] > 0.95
