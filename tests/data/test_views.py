"""The augmented view."""

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from dcr.data.views import ViewAugmentation
from dcr.seeds import torch_generator

NOTHING = {
    "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0,
    "horizontal_flip": 0.0, "vertical_flip": 0.0, "scale": (1.0, 1.0), "ratio": (1.0, 1.0),
}  # fmt: skip


def view(**changes):
    return ViewAugmentation(**NOTHING | changes)


@pytest.fixture
def pixels():
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_a_view_without_strength_is_the_image(pixels):
    assert torch.allclose(view()(pixels, torch_generator(0)), pixels, atol=1e-5)


def test_views_repeat_with_the_generator_and_differ_between_samples(pixels):
    augment = view(brightness=0.3, scale=(0.5, 0.9))
    same = pixels[:1].expand(4, -1, -1, -1)
    one, again = (augment(same, torch_generator(5)) for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.allclose(one[0], one[1], atol=1e-3)


def test_flips_are_torchvisions(pixels):
    assert torch.allclose(
        view(horizontal_flip=1.0)(pixels, torch_generator(0)), F.horizontal_flip(pixels), atol=1e-5
    )
    assert torch.allclose(
        view(vertical_flip=1.0)(pixels, torch_generator(0)), F.vertical_flip(pixels), atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("brightness", F.adjust_brightness),
        ("contrast", F.adjust_contrast),
        ("saturation", F.adjust_saturation),
    ],
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
    """A horizontal ramp stays a ramp: its slope shrinks by the width of the crop, its values
    stay in range.
    """
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    out = view(scale=(0.25, 0.25))(ramp, torch_generator(2))[0, 0, 16]
    inside = out[4:-4]
    assert inside.diff().mean().item() == pytest.approx(0.5 / 31, rel=0.05)
    straight = torch.stack([inside, torch.arange(len(inside), dtype=torch.float32)])
    # PyTorch's bicubic kernel does not keep ramps exactly.
    assert torch.corrcoef(straight)[0, 1] > 0.999


def test_dark_pixels_survive_the_jitter(pixels):
    """The published code jitters normalised values, where everything below the mean is clamped
    away.
    """
    dark = pixels * 0.2
    out = view(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.05)(dark, torch_generator(0))
    assert torch.corrcoef(torch.stack([out.flatten(), dark.flatten()]))[0, 1] > 0.95
