"""Every part that sees a picture sees the same pixels, and they are those that a formula gives."""

import base64
import hashlib
import io
import pickle

import numpy as np
import pytest
from PIL import Image

from corpus import encode, png_declaring
from dcr.data.decoding import decode_rgb, read_size, to_rgb
from dcr.data.developing import DecodingError
from dcr.data.transforms import Preprocessing
from picture_cases import (
    CASES,
    GREY,
    MADE,
    PIXELS,
    RGB,
    SIDE,
    TURNED,
    image_of,
    opaque,
    save,
    with_orientation,
)


def seen_by_decoder(content, folder):
    return np.asarray(decode_rgb(content))


def seen_by_latents(content, folder):
    from dcr.data.shards import Sample, write_shard
    from dcr.latents.cropping import CropTask, load_crops
    from dcr.latents.options import LatentOptions

    shard = write_shard(folder, "00000", [Sample("0", content, "jpg", "a caption", {})]).as_posix()
    options = LatentOptions(SIDE, (0.9, 1.0), 1, "float32", crop_mode="center")
    task = CropTask(shard, {0: hashlib.sha256(content).hexdigest()}, {0: "a caption"})
    return load_crops(task, options).crops[0, 0].numpy()


def seen_by_evaluation(content, folder):
    from dcr.data.benchmark_sets.parts import Sample

    return np.asarray(Sample("0", content, "a set").image)


def seen_by_an_encoder(content, folder):
    """The pixels of an opened, not yet decoded PIL image, as `dcr.load_encoder` takes it."""
    with Image.open(io.BytesIO(content)) as image:
        pixels = Preprocessing(SIDE, (0.5,) * 3, (0.5,) * 3, "bicubic", "shortest")(image)
    return (pixels.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def seen_by_embed(content, folder):
    from dcr.embed import read_pictures

    (folder / "picture.jpg").write_bytes(content)
    return np.asarray(read_pictures(folder, ["picture.jpg"], {})["picture.jpg"])


def seen_by_pretraining(content, folder):
    from dcr.scenes.pretrain_data import decode_scene

    return decode_scene(content, SIDE)


def seen_on_pages(content, folder):
    from dcr.pages import to_data_uri

    uri = to_data_uri(Image.open(io.BytesIO(content)))
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


CONSUMERS = [
    seen_by_decoder,
    seen_by_latents,
    seen_by_evaluation,
    seen_by_an_encoder,
    seen_by_embed,
    seen_by_pretraining,
    seen_on_pages,
]


def assert_close(pixels, expected, tolerance):
    assert pixels.shape == expected.shape
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("seen", CONSUMERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_a_file_is_seen_as_its_formula_says(case, seen, tmp_path):
    assert_close(seen(case.content, tmp_path), case.expected, case.tolerance)


@pytest.mark.parametrize(
    ("mode", "image", "expected", "tolerance"), MADE, ids=lambda value: str(value)[:8]
)
def test_an_image_of_any_mode_is_seen_as_its_formula_says(mode, image, expected, tolerance):
    assert image.mode == mode
    assert_close(np.asarray(to_rgb(image)), expected, tolerance)


@pytest.mark.parametrize(
    ("mode", "image"), [(mode, image) for mode, image, *_ in MADE] + [("RGB", image_of(RGB, "RGB"))]
)
def test_the_image_that_was_given_stays_as_it_was(mode, image):
    before = image.tobytes(), image.info.copy()
    to_rgb(image)
    assert (image.mode, image.tobytes(), image.info) == (mode, *before)


@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_is_turned_once(orientation):
    """An upright picture that went through here stays upright, and one that its owner turned is
    not turned again.
    """
    from PIL import ImageOps

    content = save(image_of(RGB, "RGB"), "PNG", exif=with_orientation(orientation))
    upright = decode_rgb(content)
    np.testing.assert_array_equal(np.asarray(to_rgb(upright)), np.asarray(upright))
    by_owner = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(np.asarray(to_rgb(by_owner)), opaque(TURNED[orientation](RGB)))


def test_a_transparent_colour_of_a_file_does_not_count_in_a_converted_copy():
    """Pillow hands the colour on, but there it may be that of pixels which were never
    transparent.
    """
    indices = image_of(GREY % 2, "P")
    indices.putpalette(bytes([10, 20, 30] * 2))  # index 0 is transparent, index 1 has its colour
    opened = Image.open(io.BytesIO(save(indices, "PNG", transparency=0)))
    assert np.asarray(to_rgb(opened.convert("RGB"))).max() == 30
    assert np.array_equal(np.asarray(to_rgb(opened))[..., 0] == 255, GREY % 2 == 0)


@pytest.mark.parametrize(
    "values", [[[0.0, 1.5]], [[-0.1, 0.5]], [[float("nan"), 0.5]], [[200.0, 3.0]]]
)
def test_floats_outside_0_to_1_are_refused(values):
    with pytest.raises(DecodingError, match=r"mode F is read as 0 \(black\) to 1 \(white\)"):
        to_rgb(Image.fromarray(np.array(values, np.float32)))


@pytest.mark.parametrize("value", [-1, 65536])
def test_integers_outside_16_bits_are_refused(value):
    with pytest.raises(DecodingError, match="mode I is read as 0"):
        to_rgb(Image.fromarray(np.full((4, 4), value, np.int32)))


@pytest.mark.parametrize("value", ["picture.jpg", None, np.zeros((4, 4, 3), np.uint8)])
def test_what_is_no_image_is_refused(value):
    with pytest.raises(DecodingError, match="expected a PIL image"):
        to_rgb(value)


def test_an_opened_file_that_is_cut_short_is_a_sentence():
    with pytest.raises(DecodingError, match="truncated") as error:
        to_rgb(Image.open(io.BytesIO(encode((64, 64))[:900])))
    assert error.value.reason == "image_truncated"
    # Processes hand errors on in this way.
    assert pickle.loads(pickle.dumps(error.value)).reason == "image_truncated"


@pytest.mark.filterwarnings("ignore:Image size")
def test_a_header_that_declares_too_many_pixels_is_refused():
    for content in (png_declaring(60_000, 60_000), png_declaring(13_000, 13_800)):
        with pytest.raises(DecodingError) as error:
            decode_rgb(content)
        assert error.value.reason == "too_many_pixels"
    with pytest.raises(DecodingError):
        decode_rgb(encode((48, 40)), max_pixels=48 * 40 - 1)


@pytest.mark.parametrize("kind", ["TIFF", "PPM", "ICO"])
def test_files_of_other_formats_are_not_decoded(kind):
    with pytest.raises(DecodingError, match="none of JPEG, PNG, WEBP, BMP, GIF"):
        decode_rgb(save(image_of(RGB, "RGB"), kind))


@pytest.mark.parametrize("orientation", TURNED)
def test_the_size_by_the_header_is_the_upright_pictures(orientation):
    content = save(image_of(RGB[:8], "RGB"), "JPEG", exif=with_orientation(orientation))
    assert (
        read_size(content) == decode_rgb(content).size == ((16, 8) if orientation < 5 else (8, 16))
    )


def test_a_preview_is_decoded_small():
    content = encode((640, 480))
    assert decode_rgb(content, side=100).size == (160, 120)
    assert decode_rgb(encode((640, 480), kind="PNG"), side=100).size == (640, 480)


def test_pixels_of_plain_pictures_are_those_of_pillow():
    for kind, mode in (
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("PNG", "RGB"),
        ("PNG", "P"),
        ("WEBP", "RGB"),
        ("JPEG", "CMYK"),
    ):
        content = encode((70, 50), kind=kind, mode=mode)
        expected = Image.open(io.BytesIO(content)).convert("RGB")
        np.testing.assert_array_equal(np.asarray(decode_rgb(content)), np.asarray(expected))


def test_an_opaque_alpha_channel_changes_nothing():
    content = save(image_of(np.dstack([RGB, np.full_like(GREY, 255)]), "RGBA"), "PNG")
    np.testing.assert_array_equal(np.asarray(decode_rgb(content)), RGB)


def test_what_lies_under_transparency_is_not_seen():
    """The black logo on a transparent ground of black, which becomes a black square where
    opacity is dropped.
    """
    logo = np.zeros_like(PIXELS)
    logo[4:8, 4:8, 3] = 255
    pixels = np.asarray(decode_rgb(save(image_of(logo, "RGBA"), "PNG")))
    assert (pixels[4:8, 4:8] == 0).all()
    assert pixels.mean() > 230
