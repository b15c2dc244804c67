"""Pictures of the demo's world, from attributes and one nuisance seed.

Everything is painted with anti-aliased distances at the image's own size, so that a picture costs a
millisecond or two and looks the same at 32 and at 64 pixels. Lengths are shares of the image's
side; ``canvas`` is (3, S, S) float32.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from PIL import Image

from dcr import seeds
from dcr.scenes.scenery import cover, draw_surroundings, rgb
from dcr.scenes.silhouettes import EXTENT, FIELD_SIZE, distance_field
from dcr.scenes.world import DETAILS, SCENE_CLASSES

_COLOURS = [
    rgb(c) for c in ("#d81e2c", "#ffc61a", "#1f9d45", "#2450c8")
]  # in the order of DETAILS["color"]
_WHITE = rgb("#fffdf5")
_INK = rgb("#1b1b2a")
_SUN = rgb("#ffd83a")
_RAYS = rgb("#f26a1b")
_WALL = rgb("#d9cdb8")
_STRIPE = rgb("#8c4a3c")

_WALL_TOP = 0.84
_HEIGHTS = (0.33, 0.60)  # centre of the object, in the order of DETAILS["position"]
_HALF_WIDTHS = (0.33, 0.20)  # half of the object's extent, in the order of DETAILS["viewpoint"]
_BORDER = 0.022  # white around the object
_OUTLINE = 0.032  # colour around a hollow one's inside
_STREAK_LENGTH = 0.22
_NOISE = 0.02


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
    canvas = draw_surroundings(attributes["class"], *_pixel_centres(image_size), generator)
    for draw in (_draw_wall, _draw_object, _draw_sun, _draw_dots, _draw_sign):
        draw(canvas, attributes, generator)
    light = generator.normal(1, 0.05) * generator.normal(1, 0.02, (3, 1, 1))
    canvas *= light.astype(np.float32)
    canvas += _NOISE * generator.standard_normal(canvas.shape, np.float32)
    return Image.fromarray(np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0))


def encode_jpeg(image: Image.Image) -> bytes:
    """Return the JPEG of ``image``: quality 95, no chroma subsampling, always the same bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


@lru_cache(maxsize=4)
def _pixel_centres(image_size: int) -> tuple[np.ndarray, np.ndarray]:
    centres = (np.arange(image_size, dtype=np.float32) + 0.5) / image_size
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return x, y


def _window(
    canvas: np.ndarray, left: float, top: float, right: float, bottom: float
) -> tuple[np.ndarray, ...]:
    """Return a view of the part of the canvas that a detail may cover, with its pixel centres.

    Painting less is faster.
    """
    size = canvas.shape[-1]
    part = np.s_[
        int(top * size) : math.ceil(bottom * size), int(left * size) : math.ceil(right * size)
    ]
    x, y = _pixel_centres(size)
    return canvas[:, *part], x[part], y[part]


def _paint(canvas: np.ndarray, alpha: np.ndarray, colour: np.ndarray) -> None:
    canvas += alpha * (colour - canvas)


def _shows(attributes: Mapping[str, int], detail: str, words: str) -> bool:
    return DETAILS[detail][attributes[detail]] == words


# Each of the functions below draws the same random numbers whatever the attributes are.


def _draw_wall(
    canvas: np.ndarray, attributes: Mapping[str, int], generator: np.random.Generator
) -> None:
    phase = generator.random()
    shift = generator.normal(0, 0.008)
    size = canvas.shape[-1]
    part, x, y = _window(canvas, 0, 0.75, 1, 1)
    wall = cover(_WALL_TOP + shift - y, size)
    _paint(part, wall, _WALL)
    if _shows(attributes, "structure", "by a striped wall"):
        width = 0.125
        from_middle = np.abs((x / width + phase) % 1 - 0.5)
        _paint(part, wall * cover((from_middle - 0.25) * width, size), _STRIPE)


def _draw_object(
    canvas: np.ndarray, attributes: Mapping[str, int], generator: np.random.Generator
) -> None:
    shift = generator.uniform((-0.05, -0.035), (0.05, 0.035))
    angle = np.deg2rad(generator.uniform(-9, 9))
    scale = generator.uniform(0.92, 1.1)
    aspect = np.sqrt(generator.uniform(0.85, 1.18))
    colour = _COLOURS[attributes["color"]] + generator.normal(0, 0.04, (3, 1, 1)).astype(np.float32)

    size = canvas.shape[-1]
    half = _HALF_WIDTHS[attributes["viewpoint"]] * scale
    centre = np.array([0.5, _HEIGHTS[attributes["position"]]]) + shift
    mirror = -1 if _shows(attributes, "orientation", "facing left") else 1
    halves = np.array([half * aspect * mirror, half / aspect])
    distance = half * _place(attributes["class"], size, centre, halves, angle)
    _draw_streaks(canvas, centre, half, aspect, mirror)
    behind = canvas.copy()
    _paint(canvas, cover(distance - _BORDER, size), _WHITE)
    _paint(canvas, cover(distance, size), colour)
    if _shows(attributes, "state", "hollow"):
        _paint(canvas, cover(distance + _OUTLINE, size), behind)


def _draw_streaks(
    canvas: np.ndarray, centre: np.ndarray, half: float, aspect: float, mirror: int
) -> None:
    """Draw three streaks of wind behind the object, ending under its back.

    At 32 pixels the outline alone hardly tells left from right: no UNet of the demo's size learnt
    orientation from it.
    """
    x, y = _pixel_centres(canvas.shape[-1])
    from_back = -mirror * (x - centre[0]) - 0.8 * half * aspect
    along = np.abs(from_back - _STREAK_LENGTH / 2) - _STREAK_LENGTH / 2
    for height in (-0.45, 0.0, 0.45):
        across = np.abs(y - centre[1] - height * half / aspect)
        _paint(canvas, cover(np.maximum(along, across - 0.034), canvas.shape[-1]), _WHITE)
        _paint(canvas, cover(np.maximum(along, across - 0.018), canvas.shape[-1]), _INK)


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


def _draw_sun(
    canvas: np.ndarray, attributes: Mapping[str, int], generator: np.random.Generator
) -> None:
    centre = np.array([0.86, 0.14]) + generator.normal(0, 0.012, 2)
    turn = generator.random()
    if not _shows(attributes, "presence", "with a sun"):
        return
    part, x, y = _window(canvas, 0.6, 0, 1, 0.4)
    radius = np.hypot(x - centre[0], y - centre[1])
    rays = 0.022 * np.cos(10 * np.arctan2(y - centre[1], x - centre[0]) + turn)
    _paint(part, cover(radius - 0.108 - rays, canvas.shape[-1]), _RAYS)
    _paint(part, cover(radius - 0.083, canvas.shape[-1]), _SUN)


def _draw_dots(
    canvas: np.ndarray, attributes: Mapping[str, int], generator: np.random.Generator
) -> None:
    start = np.array([0.11, 0.11]) + generator.normal(0, 0.012, 2)
    part, x, y = _window(canvas, 0, 0, 0.65, 0.3)
    for number in range(attributes["count"] + 1):
        radius = np.hypot(x - start[0] - 0.19 * number, y - start[1])
        _paint(part, cover(radius - 0.088, canvas.shape[-1]), _WHITE)
        _paint(part, cover(radius - 0.062, canvas.shape[-1]), _INK)


def _draw_sign(
    canvas: np.ndarray, attributes: Mapping[str, int], generator: np.random.Generator
) -> None:
    centre = np.array([0.84, 0.80]) + generator.normal(0, 0.012, 2)
    size = canvas.shape[-1]
    part, x, y = _window(canvas, 0.6, 0.6, 1, 1)
    u, v = x - centre[0], y - centre[1]
    plate = np.maximum(np.abs(u), np.abs(v))
    _paint(part, cover(plate - 0.145, size), _INK)
    _paint(part, cover(plate - 0.122, size), _WHITE)
    if _shows(attributes, "text", "with the letter T"):
        bar = np.maximum(np.abs(u) - 0.08, np.abs(v + 0.062) - 0.02)
        letter = np.minimum(bar, np.maximum(np.abs(u) - 0.021, np.abs(v) - 0.082))
    else:
        letter = np.abs(np.hypot(u, v) - 0.062) - 0.021
    _paint(part, cover(letter, size), _INK)
