"""Damaged pictures of every mode and container: one verdict, and never an error of another kind."""

import io
import warnings

import numpy as np
from PIL import Image

from dcr.data.decoding import decode_rgb, read_size, to_rgb
from dcr.data.developing import DecodingError
from dcr.validation.images import measure_image
from dcr.validation.reasons import REASONS
from picture_cases import CASES


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes of which some are changed, removed, doubled or cut off, most of them in the
    header.
    """
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 3)):
        end = len(damaged) if rng.random() < 0.5 else min(200, len(damaged))
        place, length = int(rng.integers(max(1, end))), int(rng.integers(1, 40))
        match rng.integers(5):
            case 0:
                damaged[place : place + 1] = bytes([int(rng.integers(256))])
            case 1:
                damaged[place : place + length] = rng.bytes(length)
            case 2:
                del damaged[place : place + length]
            case 3:
                damaged[place:place] = damaged[place : place + length]
            case _:
                del damaged[max(place, 30) :]
    return bytes(damaged)


def verdict(see, content):
    try:
        return None, see(content)
    except DecodingError as error:
        return error.reason, None


def opened(content: bytes) -> Image.Image:
    """Return the RGB image of an opened file, whatever decoder Pillow takes; None where it
    opens none.
    """
    try:
        image = Image.open(io.BytesIO(content))
    except Exception:  # what is no image for Pillow is not ours to judge
        return None
    return to_rgb(image)


def test_a_damaged_picture_has_one_verdict(torture):
    rng, accepted = np.random.default_rng(torture.seed), 0
    number = torture.amount(1500, 20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(number):
            content = damage(CASES[rng.integers(len(CASES))].content, rng)
            reason, image = verdict(lambda c: decode_rgb(c, 1_000_000), content)
            measures = measure_image(content, 1_000_000)
            assert measures.reason == reason or {measures.reason, reason} <= {
                "image_corrupt",
                "image_truncated",
            }
            assert reason is None or reason in REASONS
            if image is not None:
                accepted += 1
                assert image.mode == "RGB"
                assert image.size == (measures.width, measures.height)
                assert verdict(read_size, content)[0] is None
            verdict(opened, content)
    assert number * 0.05 < accepted < number * 0.9
    torture.count("damaged pictures", number)
