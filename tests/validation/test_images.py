import io
import tracemalloc
from itertools import product

import numpy as np
import pytest
from PIL import Image

from corpus import encode, png_declaring
from dcr.data.decoding import decode_rgb
from dcr.validation.images import ImageMeasures, measure_image, measure_images, perceptual_hashes
from picture_cases import CASES, with_orientation

CAP = 89_478_485


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_every_supported_format_is_measured(kind):
    measures = measure_image(encode((48, 40), kind=kind), CAP)
    assert (measures.format, measures.width, measures.height) == (kind, 48, 40)
    assert (measures.reason, measures.decode_error, measures.animated) == (None, None, False)


def decodes_in_colour(content):
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except (OSError, SyntaxError):
        return False
    return True


JPEGS = [
    encode(
        (90, 70),
        quality=quality,
        subsampling=subsampling,
        progressive=progressive,
        restart_marker_blocks=restart,
    )
    for quality, subsampling, progressive, restart in product(
        (40, 90), (0, 1, 2), (False, True), (0, 3)
    )
]


def test_a_jpeg_is_measured_if_and_only_if_it_can_be_decoded_in_colour():
    """Its luma alone is decoded, so damage in its colours must be found too; flipped, removed
    and missing bytes.
    """
    rng, fates = np.random.default_rng(0), []
    for content in JPEGS * 40:
        damaged, place = bytearray(content), int(rng.integers(len(content)))
        match rng.integers(3):
            case 0:
                damaged[place] ^= 1 << int(rng.integers(8))
            case 1:
                del damaged[place : place + int(rng.integers(1, 50))]
            case _:
                del damaged[place:]
        fates.append(decodes_in_colour(bytes(damaged)))
        assert (measure_image(bytes(damaged), CAP).reason is None) == fates[-1]
    assert 200 < sum(fates) < len(fates) - 200


def test_a_jpeg_whose_colours_cannot_be_enlarged_is_not_accepted():
    """Every pair of sampling factors of luma and one colour; the scan holds enough blocks for
    all of them.
    """
    content, fates = bytearray(encode((400, 400), quality=95)), []
    frame = content.index(b"\xff\xc0") + 2
    content[frame + 3 : frame + 7] = bytes([0, 40, 0, 40])
    for luma, colour in product(range(256), (0x00, 0x11, 0x12, 0x21, 0x22, 0x23, 0x32, 0x41)):
        content[frame + 9], content[frame + 12], content[frame + 15] = luma, colour, 0x11
        fates.append(decodes_in_colour(bytes(content)))
        assert (measure_image(bytes(content), CAP).reason is None) == fates[-1]
    assert 10 < sum(fates) < len(fates) - 10


@pytest.mark.parametrize(
    ("kind", "mode", "tolerance"),
    # a colour JPEG's luma is taken as it is stored, the grey image is made of its RGB, rounded and
    # clipped
    [
        ("JPEG", "RGB", 0.02),
        ("JPEG", "L", 1e-3),
        ("JPEG", "CMYK", 1e-3),
        ("PNG", "RGB", 1e-3),
        ("PNG", "P", 1e-3),
    ],
)
def test_luminance_is_that_of_the_grey_image(kind, mode, tolerance):
    content = encode(kind=kind, mode=mode)
    grey = np.asarray(decode_rgb(content).convert("L"), np.float64)
    measures = measure_image(content, CAP)
    assert measures.mode == mode
    assert measures.luminance_mean == pytest.approx(grey.mean(), abs=tolerance)
    assert measures.luminance_spread == pytest.approx(grey.std(), abs=tolerance)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_details_that_vanish_in_a_small_copy_count_for_the_spread(kind):
    """A board of single pixels, 100 and 140 by turns, averages to one grey."""
    buffer = io.BytesIO()
    pixels = (100 + 40 * (np.indices((256, 256)).sum(axis=0) % 2)).astype(np.uint8)
    Image.fromarray(pixels).convert("RGB").save(buffer, kind, quality=95)
    assert measure_image(buffer.getvalue(), CAP).luminance_spread == pytest.approx(20, abs=0.5)


def test_sixteen_bit_images_are_scaled_not_clipped():
    buffer = io.BytesIO()
    Image.fromarray(np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)).save(
        buffer, "PNG"
    )
    measures = measure_image(buffer.getvalue(), CAP)
    assert measures.luminance_mean == pytest.approx(127.5, abs=1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_the_pixels_that_are_measured_are_those_that_training_sees(case):
    measures = measure_image(case.content, CAP)
    red, green, blue = np.moveaxis(np.asarray(decode_rgb(case.content), np.float64), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert (measures.height, measures.width) == luma.shape == case.expected.shape[:2]
    assert measures.luminance_mean == pytest.approx(luma.mean(), abs=0.6)
    assert measures.luminance_spread == pytest.approx(luma.std(), abs=0.6)
    told = {*measures.changes, *(["animated"] if measures.animated else [])}
    assert told == set(case.reasons)


def test_the_perceptual_hash_is_that_of_the_upright_picture():
    turned = encode((64, 48), seed=1, exif=with_orientation(6), quality=95)
    buffer = io.BytesIO()
    decode_rgb(turned).save(buffer, "PNG")
    distance = int(measure_image(turned, CAP).phash, 16) ^ int(
        measure_image(buffer.getvalue(), CAP).phash, 16
    )
    assert distance.bit_count() <= 2


def test_the_exif_orientation_is_kept():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert measure_image(encode(exif=exif.tobytes()), CAP).exif_orientation == 6
    assert measure_image(encode(), CAP).exif_orientation is None


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_several_frames_are_animated(kind):
    other = Image.new("RGB", (48, 40), (200, 0, 0))
    content = encode(kind=kind, save_all=True, append_images=[other])
    assert measure_image(content, CAP).animated is True


def test_a_picture_whose_second_frame_is_broken_is_animated_and_its_first_is_measured():
    other = Image.new("RGB", (48, 40), (200, 0, 0))
    content = encode(kind="GIF", save_all=True, append_images=[other])
    broken = content[: content.rindex(b"\x21\xf9") + 3]
    assert decode_rgb(broken).size == (48, 40)
    measures = measure_image(broken, CAP)
    assert (measures.reason, measures.width) == (None, 48)


def test_a_truncated_jpeg_is_named_wherever_it_is_cut():
    content = encode((64, 64))
    start = content.index(b"\xff\xda") + 20  # inside the scan
    for length in range(start, len(content) - 40, 37):
        assert measure_image(content[:length], CAP).reason == "image_truncated"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_other_truncated_formats_are_not_accepted(kind):
    content = encode((64, 64), kind=kind)
    measures = measure_image(content[: len(content) // 2], CAP)
    assert measures.reason in ("image_truncated", "image_corrupt")
    assert measures.decode_error


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"GIF89a", b"no image", b"\0" * 100])
def test_bytes_that_are_no_image_are_corrupt(content):
    assert measure_image(content, CAP).reason == "image_corrupt"


@pytest.mark.parametrize(
    "content", [b"<svg xmlns=", b"\n<!DOCTYPE html>", b"%PDF-1.4", b"\0\0\0\x20ftypavif"]
)
def test_other_files_are_of_an_unsupported_format(content):
    assert measure_image(content, CAP).reason == "unsupported_format"


def test_a_tiff_is_of_an_unsupported_format():
    assert measure_image(encode(kind="TIFF"), CAP).reason == "unsupported_format"


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("size", [(60_000, 60_000), (10_000, 9_000)])
def test_a_bomb_is_refused_before_it_is_decoded(size):
    tracemalloc.start()
    measures = measure_image(png_declaring(*size), CAP)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert measures.reason == "too_many_pixels"
    assert peak < 4 << 20


def test_the_cap_is_the_recipes():
    content = encode((48, 40))
    assert measure_image(content, 48 * 40).reason is None
    assert measure_image(content, 48 * 40 - 1).reason == "too_many_pixels"


def test_an_extended_webp_is_refused_by_its_header():
    side = (16_383 - 1).to_bytes(3, "little")
    content = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + side + side
    assert measure_image(content, CAP).reason == "too_many_pixels"


def test_errors_do_not_depend_on_addresses():
    assert measure_image(b"no image", CAP) == measure_image(b"no image", CAP)


def test_the_perceptual_hash_is_a_median_threshold_of_low_dct_coefficients():
    from scipy.fft import dctn

    images = [Image.open(io.BytesIO(encode((64, 64), seed=seed))).convert("L") for seed in range(3)]
    small = np.stack([np.asarray(image.resize((32, 32), Image.Resampling.BOX)) for image in images])
    lows = [dctn(pixels.astype(np.float64), type=2)[:8, :8] for pixels in small]
    bits = [
        "".join("1" if value > np.median(low) else "0" for value in low.ravel()) for low in lows
    ]
    assert perceptual_hashes(small) == [f"{int(text, 2):016x}" for text in bits]


def test_many_images_are_measured_as_each_alone():
    contents = [
        encode(seed=1),
        b"no image",
        None,
        encode(kind="PNG", mode="P"),
        encode(seed=2)[:500],
        encode(seed=3),
    ]
    together = measure_images(contents, CAP)
    assert together[2] == ImageMeasures()
    assert together[:2] + together[3:] == [
        measure_image(content, CAP) for content in contents if content is not None
    ]
    assert [measures.phash is None for measures in together] == [
        False,
        True,
        True,
        False,
        True,
        False,
    ]
    assert measure_images([], CAP) == []


def test_the_perceptual_hash_of_a_long_strip_sees_all_its_rows():
    """At the size that borders are looked for it would have two of them left."""
    rows = np.random.default_rng(0).integers(0, 256, (32, 4000), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rows).save(buffer, "PNG")
    small = np.asarray(Image.fromarray(rows).resize((32, 32), Image.Resampling.BOX))
    assert [measure_image(buffer.getvalue(), CAP).phash] == perceptual_hashes(small[None])


def test_the_perceptual_hash_survives_recompression_and_not_another_picture():
    def distance(a, b):
        return (
            int(measure_image(a, CAP).phash, 16) ^ int(measure_image(b, CAP).phash, 16)
        ).bit_count()

    assert distance(encode(seed=1, quality=95), encode(seed=1, quality=60)) <= 6
    flipped = Image.open(io.BytesIO(encode(seed=1))).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    buffer = io.BytesIO()
    flipped.save(buffer, "PNG")
    assert distance(encode(seed=1), buffer.getvalue()) > 10
