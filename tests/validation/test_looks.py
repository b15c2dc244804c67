"""What a picture shows: each measure by another library, and pictures made to have a defect."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps
from scipy import ndimage, stats

from dcr.data.shards import Sample
from dcr.validation.borders import flat_border, text_border
from dcr.validation.images import measure_image
from dcr.validation.looks import entropies, luminance_ends, middle, reduce, sharpness
from dcr.validation.rows import measure_samples
from made_pictures import (
    DEFECTS,
    LOOKS,
    WORDS,
    encoded,
    found,
    grey_in_three_channels,
    object_on_white,
    panels,
    picture,
    rates,
    with_text_bar,
)


def seen(grey):
    """Return a grey picture as an array at the size that it is looked at."""
    return np.asarray(reduce(grey))


@pytest.mark.parametrize("reason", DEFECTS)
def test_pictures_made_to_have_a_defect_are_told_and_good_ones_are_not(reason):
    """Rates over forty pictures of each kind, by the base recipe's limits; see
    `benchmarks/looks.py` for more of them.
    """
    spoiled, nearly, good = rates(reason, 40)
    assert spoiled >= 0.97
    assert nearly <= 0.03
    assert good <= 0.03


def test_a_blank_image_is_blank_and_nothing_else():
    assert found(encoded(Image.new("RGB", (64, 64), (5, 5, 5)))) == set()


class TestGreyscale:
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("JPEG", {"quality": 60, "subsampling": 2}),
            ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}),
            ("PNG", {}),
            ("WEBP", {"quality": 80}),
        ],
    )
    def test_it_is_told_of_three_channels_in_every_format(self, kind, options):
        def is_grey(image):
            buffer = io.BytesIO()
            image.save(buffer, kind, **options)
            return measure_image(buffer.getvalue(), 10**6).is_grey

        assert is_grey(grey_in_three_channels(picture(1)))
        assert not is_grey(picture(1))

    @pytest.mark.parametrize("place", [(0, 0), (300, 0), (150, 120), (300, 220)])
    @pytest.mark.parametrize("size", [(320, 240), (1600, 1200)])
    def test_one_coloured_spot_anywhere_is_colour(self, place, size):
        """Also behind the part of the file that is looked at first."""
        image = grey_in_three_channels(picture(2)).resize(size)
        scale = size[0] // 320
        corner = (place[0] * scale, place[1] * scale)
        image.paste((200, 40, 40), (*corner, corner[0] + 16 * scale, corner[1] + 16 * scale))
        assert not measure_image(encoded(image), 10**7).is_grey

    def test_a_long_comment_before_the_picture_hides_nothing(self):
        buffer = io.BytesIO()
        picture(3).save(buffer, "JPEG", comment=b"\xff\xc0\x00\x11" * 9000)
        assert not measure_image(buffer.getvalue(), 10**6).is_grey


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
        assert reduce(large).size == (229, 172)
        assert sharpness(seen(soft)) > 0.7 * sharpness(seen(large))

    def test_sharpness_is_that_of_the_middle_half_of_the_rows(self):
        rows = np.arange(12)[:, None] * np.ones((1, 5))
        assert middle(rows)[:, 0].tolist() == [3, 4, 5, 6, 7, 8]
        image = picture(5, (300, 200))
        found = measure_image(encoded(image), 10**6, has_detail=True).sharpness
        luma = Image.open(io.BytesIO(encoded(image)))
        luma.draft("L", None)
        assert found == sharpness(seen(luma)[25:75])

    @pytest.mark.parametrize(
        ("border", "expected"), [((0, 40), 0.286), ((60, 0), 0.375), ((0, 0), 0)]
    )
    def test_the_share_of_a_border(self, border, expected):
        framed = ImageOps.expand(picture(7, (200, 200)).convert("L"), border, 7)
        assert flat_border(np.asarray(framed)) == pytest.approx(expected, abs=0.02)
        assert flat_border(np.full((9, 9), 3, np.uint8)) == 1

    @pytest.mark.parametrize("turn", [None, *Image.Transpose])
    def test_the_share_of_a_border_with_writing_on_any_side(self, turn):
        framed = with_text_bar(picture(7)).convert("L")
        framed = framed if turn is None else framed.transpose(turn)
        assert text_border(seen(framed)) == pytest.approx(40 / 280, abs=0.02)

    @pytest.mark.parametrize("seed", [0, 1])
    @pytest.mark.parametrize("size", [12, 18, 24])
    @pytest.mark.parametrize("scale", [1, 2, 4])
    def test_writing_from_one_side_of_the_bar_to_the_other_is_writing(self, seed, size, scale):
        """At the size that an encoder sees, its letters run into each other."""
        large = picture(7, (320 * scale, 240 * scale))
        framed = with_text_bar(
            large, seed, " ".join(4 * WORDS)[: 560 // size], size * scale, 40 * scale
        )
        assert text_border(seen(framed.convert("L"))) == pytest.approx(40 / 280, abs=0.02)

    def test_what_lies_between_pictures_bears_no_writing(self):
        found = [text_border(seen(panels(seed, 4 + seed).convert("L"))) for seed in range(12)]
        assert sum(share > 0 for share in found) <= 1

    @pytest.mark.parametrize("size", [(320, 240), (500, 400), (301, 207)])
    @pytest.mark.parametrize("border", [(0, 2), (3, 0), (0, 0, 0, 5), (4, 0, 0, 0), (0, 9)])
    def test_a_border_of_any_width_is_measured(self, size, border):
        """Also one that is thinner than a line of the small copy that hashes are made of."""
        grey = ImageOps.expand(picture(7, size).convert("L"), border, 7)
        buffer = io.BytesIO()
        grey.save(buffer, "PNG")
        measures = measure_image(buffer.getvalue(), 10**7, has_detail=True)
        assert measures.flat_border == flat_border(seen(grey))
        assert measures.flat_border > 0

    @pytest.mark.parametrize("turn", [None, *Image.Transpose])
    def test_a_low_bar_with_writing_is_measured(self, turn):
        framed = with_text_bar(picture(7), size=12, height=16)
        framed = framed if turn is None else framed.transpose(turn)
        measures = measure_image(encoded(framed), 10**6, has_detail=True)
        assert measures.text_border == pytest.approx(16 / 256, abs=0.02)

    @pytest.mark.parametrize("seed", range(5))
    def test_neither_objects_on_white_nor_flat_borders_bear_writing(self, seed):
        assert text_border(seen(object_on_white(seed).convert("L"))) == 0
        assert text_border(np.full((9, 9), 3, np.uint8)) == 0

    def test_a_sample_that_is_not_decoded_has_no_look(self):
        measures = measure_image(b"no image", 10**6, has_detail=True)
        assert (measures.sharpness, measures.entropy, measures.flat_border) == (None,) * 3
        assert (measures.text_border, measures.is_grey) == (None, None)

    def test_what_nobody_asks_for_is_not_measured(self):
        plain = replace(LOOKS, min_sharpness=None, max_flat_border=None, max_text_border=None)
        content = encoded(ImageOps.expand(picture(1), (0, 60), "black"))
        (row,) = measure_samples([Sample("0", content, "jpg", "x")], "a", plain)
        assert (row["sharpness"], row["flat_border"], row["text_border"]) == (None, None, None)
        assert row["findings"] == []
