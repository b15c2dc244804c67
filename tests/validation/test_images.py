import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from corpus import encode, png_declaring
from dcr.validation.images import measure_image, perceptual_hash

CAP = 89_478_485


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_every_supported_format_is_measured(kind):
    measures = measure_image(encode((48, 40), kind=kind), CAP)
    assert (measures.format, measures.width, measures.height) == (kind, 48, 40)
    assert (measures.reason, measures.decode_error, measures.animated) == (None, None, False)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_luminance_is_that_of_the_grey_image(mode):
    content = encode(mode=mode)
    grey = np.asarray(Image.open(io.BytesIO(content)).convert("L"), np.float64)
    measures = measure_image(content, CAP)
    assert measures.mode == mode
    assert measures.luminance_mean == pytest.approx(grey.mean(), abs=1e-3)
    assert measures.luminance_spread == pytest.approx(grey.std(), abs=1e-3)


def test_sixteen_bit_images_are_scaled_not_clipped():
    buffer = io.BytesIO()
    Image.fromarray(np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)).save(buffer, "PNG")
    measures = measure_image(buffer.getvalue(), CAP)
    assert measures.luminance_mean == pytest.approx(127.5, abs=1)


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


@pytest.mark.parametrize("content", [b"<svg xmlns=", b"\n<!DOCTYPE html>", b"%PDF-1.4", b"\0\0\0\x20ftypavif"])
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

    image = Image.open(io.BytesIO(encode((64, 64)))).convert("L")
    low = dctn(np.asarray(image.resize((32, 32), Image.Resampling.BOX), np.float64), type=2)[:8, :8]
    bits = "".join("1" if value > np.median(low) else "0" for value in low.ravel())
    assert int(perceptual_hash(image), 16) == int(bits, 2)


def test_the_perceptual_hash_survives_recompression_and_not_another_picture():
    def distance(a, b):
        return (int(measure_image(a, CAP).phash, 16) ^ int(measure_image(b, CAP).phash, 16)).bit_count()

    assert distance(encode(seed=1, quality=95), encode(seed=1, quality=60)) <= 6
    flipped = Image.open(io.BytesIO(encode(seed=1))).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    buffer = io.BytesIO()
    flipped.save(buffer, "PNG")
    assert distance(encode(seed=1), buffer.getvalue()) > 10
