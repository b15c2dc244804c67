"""Pictures of the demo's world, from attributes and one nuisance seed.

Everything is painted with anti-aliased distances at the image's own size, so that a picture costs a
millisecond or two and looks the same at 32 and at 64 pixels. Lengths are shares of the image's
side; ``canvas`` is (3, S, S) float32.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from dcr import seeds
from dcr.scenes.corners import draw_dots, draw_sign, draw_sun
from dcr.scenes.painting import INK, WHITE, paint, pixel_centres, shows, window
from dcr.scenes.scenery import cover, draw_surroundings, rgb
from dcr.scenes.silhouettes import EXTENT, FIELD_SIZE, distance_field
from dcr.scenes.world import SCENE_CLASSES

# In the order of DETAILS["color"].
_COLOURS = [rgb(c) for c in ("#d81e2c", "#ffc61a", "#1f9d45", "#2450c8")]
_WALL = rgb("#d9cdb8")
_STRIPE = rgb("#8c4a3c")

_WALL_TOP = 0.84
_HEIGHTS = (0.33, 0.60)  # centre of the object, in the order of DETAILS["position"]
_HALF_WIDTHS = (0.33, 0.20)  # half of the object's extent, in the order of DETAILS["viewpoint"]
_BORDER = 0.022  # white around the object
_OUTLINE = 0.032  # colour around a hollow one's inside
_STREAK_LENGTH = 0.22
_NOISE = 0.02

VOID = 255
"""The index of a mask's pixels that count nowhere."""


def render(
    attributes: Mapping[str, int], seed: int, split: str, index: int, image_size: int
) -> Image.Image:
    """Return the picture of ``attributes``, RGB, ``image_size`` pixels square.

    Nuisance (variation of the scene, jitter, scale, shift, rotation, aspect, light, noise) depends
    on ``(seed, split, index)`` alone: two pictures of one index that differ in a detail differ in
    nothing else.

    Args:
        attributes: class and details, each a place in its list of words; see
            `dcr.scenes.world`.
        seed: the world's.
        split: names the stream of draws.
        index: of the picture in the stream.
        image_size: in pixels.
    """
    generator = seeds.numpy_generator(seed, "nuisance", split, index)
    canvas = draw_surroundings(attributes["class"], *pixel_centres(image_size), generator)
    for draw in (_draw_wall, _draw_object, draw_sun, draw_dots, draw_sign):
        draw(canvas, attributes, generator)
    light = generator.normal(1, 0.05) * generator.normal(1, 0.02, (3, 1, 1))
    canvas *= light.astype(np.float32)
    canvas += _NOISE * generator.standard_normal(canvas.shape, np.float32)
    return Image.fromarray(np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0))


def render_mask(
    attributes: Mapping[str, int], seed: int, split: str, index: int, image_size: int
) -> np.ndarray:
    """Return what each pixel of `render`'s picture of the same arguments shows, (S, S) uint8.

    The object, a hollow one's inside included, is of its class + 1, the rest 0, and what is painted
    over the object too; the white around the object is `VOID`.

    Args:
        attributes, seed, split, index, image_size: as in `render`.
    """
    generator = seeds.numpy_generator(seed, "nuisance", split, index)
    canvas = draw_surroundings(attributes["class"], *pixel_centres(image_size), generator)
    _draw_wall(canvas, attributes, generator)
    distance = _draw_object(canvas, attributes, generator)
    before = canvas.copy()
    for draw in (draw_sun, draw_dots, draw_sign):
        draw(canvas, attributes, generator)
    mask = np.where(distance < 0, attributes["class"] + 1, 0)
    mask[(distance >= 0) & (distance < _BORDER)] = VOID
    mask[(canvas != before).any(axis=0)] = 0
    return mask.astype(np.uint8)


def encode_jpeg(image: Image.Image) -> bytes:
    """Return the JPEG of ``image``: quality 95, no chroma subsampling, always the same bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


# Each of the functions below draws the same random numbers whatever the attributes are.


def _draw_wall(
    canvas: np.ndarray, attributes: Mapping[str, int], generator: np.random.Generator
) -> None:
    phase = generator.random()
    shift = generator.normal(0, 0.008)
    size = canvas.shape[-1]
    part, x, y = window(canvas, 0, 0.75, 1, 1)
    wall = cover(_WALL_TOP + shift - y, size)
    paint(part, wall, _WALL)
    if shows(attributes, "structure", "by a striped wall"):
        width = 0.125
        from_middle = np.abs((x / width + phase) % 1 - 0.5)
        paint(part, wall * cover((from_middle - 0.25) * width, size), _STRIPE)


def _draw_object(
    canvas: np.ndarray, attributes: Mapping[str, int], generator: np.random.Generator
) -> np.ndarray:
    """Return the distance of each pixel from the object's edge, negative inside, (S, S)."""
    shift = generator.uniform((-0.05, -0.035), (0.05, 0.035))
    angle = np.deg2rad(generator.uniform(-9, 9))
    scale = generator.uniform(0.92, 1.1)
    aspect = np.sqrt(generator.uniform(0.85, 1.18))
    colour = _COLOURS[attributes["color"]] + generator.normal(0, 0.04, (3, 1, 1)).astype(np.float32)

    size = canvas.shape[-1]
    half = _HALF_WIDTHS[attributes["viewpoint"]] * scale
    centre = np.array([0.5, _HEIGHTS[attributes["position"]]]) + shift
    mirror = -1 if shows(attributes, "orientation", "facing left") else 1
    halves = np.array([half * aspect * mirror, half / aspect])
    distance = half * _place(attributes["class"], size, centre, halves, angle)
    _draw_streaks(canvas, centre, half, aspect, mirror)
    behind = canvas.copy()
    paint(canvas, cover(distance - _BORDER, size), WHITE)
    paint(canvas, cover(distance, size), colour)
    if shows(attributes, "state", "hollow"):
        paint(canvas, cover(distance + _OUTLINE, size), behind)
    return distance


def _draw_streaks(
    canvas: np.ndarray, centre: np.ndarray, half: float, aspect: float, mirror: int
) -> None:
    """Draw three streaks of wind behind the object, ending under its back.

    At 32 pixels the outline alone hardly tells left from right: no UNet of the demo's size learnt
    orientation from it.
    """
    x, y = pixel_centres(canvas.shape[-1])
    from_back = -mirror * (x - centre[0]) - 0.8 * half * aspect
    along = np.abs(from_back - _STREAK_LENGTH / 2) - _STREAK_LENGTH / 2
    for height in (-0.45, 0.0, 0.45):
        across = np.abs(y - centre[1] - height * half / aspect)
        paint(canvas, cover(np.maximum(along, across - 0.034), canvas.shape[-1]), WHITE)
        paint(canvas, cover(np.maximum(along, across - 0.018), canvas.shape[-1]), INK)


def _place(
    class_index: int, image_size: int, centre: np.ndarray, halves: np.ndarray, angle: float
) -> np.ndarray:
    """Return a silhouette's distance field, (S, S) float32.

    It is scaled by ``halves``, rotated and moved to ``centre``.
    """
    # PIL wants the way back: field pixel = scale * rotate(-angle) @ (image pixel - centre) + middle
    # of the field.
    field_per_unit = FIELD_SIZE / (2 * EXTENT)
    cos, sin = np.cos(angle), np.sin(angle)
    back = np.array([[cos, sin], [-sin, cos]]) / halves[:, None] * field_per_unit
    offset = FIELD_SIZE / 2 - back @ centre
    (a, b), (d, e) = back / image_size
    return np.asarray(
        distance_field(SCENE_CLASSES[class_index]).transform(
            (image_size, image_size), Image.Transform.AFFINE, (a, b, offset[0], d, e, offset[1]),
            Image.Resampling.BILINEAR, fillcolor=EXTENT,
        )
    )  # fmt: skip
