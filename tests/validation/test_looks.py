"""What a picture shows: each measure by another library, and pictures made to have a defect."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageFilter, ImageOps
from scipy import ndimage, stats

from dcr.data.shards import Sample
from dcr.validation.images import measure_image
from dcr.validation.looks import entropies, flat_border, luminance_ends, reduce, sharpness
from dcr.validation.rows import measure_samples
from validation_tables import LIMITS

BASE = yaml.safe_load(
    (Path(__file__).parents[2] / "conf" / "base" / "parameters_validation.yml").read_text()
)["validation"]
# The base recipe's, and for what it does not measure those that its comments name.
LOOKS = replace(
    LIMITS,
    max_image_pixels=10**6,
    **{name: BASE[name] for name in ("min_luminance_high", "max_luminance_low", "min_entropy")},
    min_sharpness=30.0,
    max_flat_border=0.25,
)
REASONS = {
    "greyscale",
    "dark_image",
    "overexposed_image",
    "low_entropy",
    "blurred_image",
    "flat_border",
}


def picture(seed, size=(320, 240)):
    """Return a picture whose spectrum falls with frequency as that of photographs does."""
    rng = np.random.default_rng(seed)
    width, height = size
    noise = np.fft.fft2(rng.standard_normal((3, height, width)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    frequency[0, 0] = 1
    layers = np.real(np.fft.ifft2(noise / frequency))
    layers = (layers - layers.mean()) / layers.std()
    return Image.fromarray((127 + 50 * layers).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def scaled(image, factor, offset):
    return image.point(lambda level: min(255, int(level * factor + offset)))


DEFECTS = {
    "greyscale": lambda image: image.convert("L"),
    "dark_image": lambda image: scaled(image, 0.25, 0),
    "overexposed_image": lambda image: scaled(image, 0.07, 239),
    "low_entropy": lambda image: image.convert("L").quantize(4).convert("RGB"),
    "blurred_image": lambda image: image.filter(ImageFilter.GaussianBlur(8)),
    "flat_border": lambda image: ImageOps.expand(image, (0, 60), "black"),
}


def found(image, kind="JPEG"):
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=90)
    (row,) = measure_samples([Sample("0", buffer.getvalue(), "jpg", "x")], "a", LOOKS)
    return REASONS.intersection(row["findings"])


@pytest.mark.parametrize("reason", DEFECTS)
def test_pictures_made_to_have_a_defect_are_told_and_good_ones_are_not(reason):
    """Rates of both over forty pictures, by the base recipe's limits."""
    good = [picture(seed) for seed in range(40)]
    kind = "PNG" if reason == "low_entropy" else "JPEG"  # which would blur the few levels
    spoiled = [found(DEFECTS[reason](image), kind) for image in good]
    assert sum(reason in reasons for reasons in spoiled) >= 39
    assert sum(reason in found(image) for image in good) <= 1


def test_a_blank_image_is_blank_and_nothing_else():
    assert found(Image.new("RGB", (64, 64), (5, 5, 5))) == set()


class TestMeasures:
    @pytest.fixture(scope="class")
    def grey(self):
        return picture(3, (301, 207)).convert("L")

    @pytest.fixture(scope="class")
    def counts(self, grey):
        return np.array([grey.histogram()], np.float64)

    def test_ends_are_numpys_percentiles(self, grey, counts):
        expected = np.quantile(np.asarray(grey), [0.05, 0.99], method="inverted_cdf")
        assert [ends[0] for ends in luminance_ends(counts)] == expected.tolist()

    def test_entropy_is_scipys(self, counts):
        assert entropies(counts)[0] == pytest.approx(stats.entropy(counts[0], base=2), abs=1e-3)
        assert entropies(np.eye(256)[:1] * 9) == [0.0]
        assert entropies(np.ones((1, 256))) == [8.0]

    def test_sharpness_is_the_variance_of_scipys_laplacian(self, grey):
        array = np.asarray(grey)
        laplacian = ndimage.laplace(array.astype(np.float64))[1:-1, 1:-1]
        assert sharpness(array) == pytest.approx(laplacian[::2, ::2].var(), rel=1e-5)
        assert sharpness(array) == pytest.approx(laplacian.var(), rel=0.05)
        assert sharpness(array[:2]) == 0

    def test_sharpness_is_measured_at_the_size_that_an_encoder_sees(self):
        """A large picture that is blurred by less than what reducing takes is as sharp as one that
        was not."""
        large = picture(5, (1600, 1200)).convert("L")
        soft = large.filter(ImageFilter.GaussianBlur(1))
        assert reduce(large).shape == (172, 229)
        assert sharpness(reduce(soft)) > 0.7 * sharpness(reduce(large))

    @pytest.mark.parametrize(
        ("border", "expected"), [((0, 40), 0.286), ((60, 0), 0.375), ((0, 0), 0)]
    )
    def test_the_share_of_a_border(self, border, expected):
        framed = ImageOps.expand(picture(7, (200, 200)).convert("L"), border, 7)
        assert flat_border(np.asarray(framed)) == pytest.approx(expected, abs=0.02)
        assert flat_border(np.full((9, 9), 3, np.uint8)) == 1

    def test_a_sample_that_is_not_decoded_has_no_look(self):
        measures = measure_image(b"no image", 10**6, has_detail=True)
        assert (measures.sharpness, measures.entropy, measures.flat_border) == (None,) * 3

    def test_what_nobody_asks_for_is_not_measured(self):
        plain = replace(LOOKS, min_sharpness=None, max_flat_border=None)
        buffer = io.BytesIO()
        DEFECTS["flat_border"](picture(1)).save(buffer, "JPEG")
        (row,) = measure_samples([Sample("0", buffer.getvalue(), "jpg", "x")], "a", plain)
        assert (row["sharpness"], row["flat_border"]) == (None, None)
        assert row["findings"] == []
