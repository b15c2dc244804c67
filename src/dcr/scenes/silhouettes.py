"""The twenty silhouettes of the demo's world, as signed distance fields.

A silhouette is painted once from a few polygons, ellipses and strokes in the square [-1, 1] x [-1,
1] (x to the right, y down, facing right) and then kept as its signed distance: negative inside, in
the same units. A distance field gives the filled shape, its outline and a border of any width at
any size with smooth edges, from one small array.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt

EXTENT = 1.5  # the field covers [-EXTENT, EXTENT] in both directions
FIELD_SIZE = 192  # samples a side
_SUPERSAMPLING = 2

Points = tuple[tuple[float, float], ...]


class _Ellipse(NamedTuple):
    x: float
    y: float
    radius_x: float
    radius_y: float
    paint: int = 1


class _Polygon(NamedTuple):
    points: Points
    paint: int = 1


class _Stroke(NamedTuple):
    points: Points
    width: float
    paint: int = 1


def _box(left: float, top: float, right: float, bottom: float, paint: int = 1) -> _Polygon:
    return _Polygon(((left, top), (right, top), (right, bottom), (left, bottom)), paint)


# Parts are painted in order; a part with paint 0 cuts a hole into what is there. All shapes are
# strongly lopsided, so that left and right can be told apart, and bulky, so that solid and hollow
# can.
_PARTS: dict[str, tuple[_Ellipse | _Polygon | _Stroke, ...]] = {
    "fish": (
        _Ellipse(0.2, 0, 0.75, 0.5),
        _Polygon(((-0.3, 0), (-0.98, -0.55), (-0.8, 0), (-0.98, 0.55))),
        _Polygon(((-0.15, -0.35), (0.0, -0.75), (0.55, -0.35))),
    ),
    "car": (
        _Polygon(
            (
                (-0.95, 0.3),
                (-0.98, -0.08),
                (-0.78, -0.5),
                (0.05, -0.5),
                (0.38, -0.08),
                (0.98, 0.05),
                (0.98, 0.3),
            )
        ),
        _Ellipse(-0.52, 0.3, 0.25, 0.25),
        _Ellipse(0.55, 0.3, 0.25, 0.25),
    ),
    "cup": (
        _Ellipse(0.45, -0.05, 0.48, 0.48),
        _Ellipse(0.45, -0.05, 0.22, 0.22, 0),
        _Polygon(((-0.98, -0.72), (0.42, -0.72), (0.28, 0.78), (-0.82, 0.78))),
    ),
    "boat": (
        _Polygon(((-0.9, 0.35), (0.98, 0.25), (0.55, 0.88), (-0.65, 0.88))),
        _Stroke(((-0.12, -0.9), (-0.12, 0.4)), 0.1),
        _Polygon(((-0.05, -0.95), (0.85, 0.12), (-0.05, 0.12))),
        _Polygon(((-0.2, -0.35), (-0.2, 0.15), (-0.6, 0.15))),
    ),
    "duck": (
        _Ellipse(-0.12, 0.4, 0.72, 0.42),
        _Polygon(((0.15, 0.3), (0.2, -0.4), (0.6, -0.2), (0.55, 0.4))),
        _Ellipse(0.42, -0.42, 0.34, 0.32),
        _Polygon(((0.65, -0.58), (1.0, -0.3), (0.65, -0.22))),
        _Polygon(((-0.98, -0.1), (-0.3, 0.15), (-0.7, 0.55))),
    ),
    "key": (
        _Polygon(((-0.3, -0.17), (0.98, -0.17), (0.98, 0.15), (-0.3, 0.15))),
        _Ellipse(-0.5, 0, 0.5, 0.5),
        _Ellipse(-0.58, 0, 0.2, 0.2, 0),
        _box(0.3, 0.1, 0.5, 0.45),
        _box(0.72, 0.1, 0.98, 0.55),
    ),
    "flag": (
        _Stroke(((-0.75, -0.95), (-0.75, 0.98)), 0.2),
        _Polygon(
            (
                (-0.7, -0.9),
                (0.0, -0.75),
                (0.95, -0.9),
                (0.6, -0.4),
                (0.95, 0.15),
                (0.0, 0.25),
                (-0.7, 0.1),
            )
        ),
    ),
    "house": (
        _box(-0.78, -0.98, -0.42, 0.0),
        _Polygon(((-0.98, 0.1), (-0.3, -0.8), (0.98, 0.3))),
        _box(-0.75, 0.0, 0.78, 0.85),
        _box(0.08, 0.35, 0.45, 0.9, 0),
    ),
    "boot": (
        _Polygon(((-0.6, -0.95), (0.12, -0.95), (0.12, 0.15), (-0.6, 0.9))),
        _Polygon(((-0.6, 0.0), (0.12, 0.05), (0.6, 0.25), (0.8, 0.5), (0.8, 0.9), (-0.6, 0.9))),
        _box(-0.2, 0.76, 0.12, 0.95, 0),
    ),
    "moon": (_Ellipse(-0.05, 0, 0.92, 0.95), _Ellipse(0.42, -0.12, 0.72, 0.76, 0)),
    "whale": (
        _Polygon(
            (
                (-0.6, 0.1),
                (-0.2, 0.05),
                (0.2, -0.3),
                (0.6, -0.35),
                (0.9, -0.1),
                (1.0, 0.25),
                (0.85, 0.6),
                (0.3, 0.78),
                (-0.3, 0.7),
                (-0.75, 0.4),
                (-0.88, -0.2),
                (-0.66, -0.25),
            )
        ),
        _Polygon(((-0.9, -0.15), (-1.0, -0.65), (-0.76, -0.48), (-0.42, -0.68), (-0.62, -0.15))),
        _Stroke(((0.5, -0.3), (0.5, -0.68)), 0.13),
        _Stroke(((0.24, -0.55), (0.3, -0.76), (0.5, -0.66), (0.7, -0.76), (0.76, -0.55)), 0.13),
    ),
    "snail": (
        _Polygon(
            (
                (-0.98, 0.8),
                (-0.6, 0.4),
                (0.35, 0.4),
                (0.5, -0.05),
                (0.85, -0.1),
                (0.98, 0.3),
                (0.8, 0.8),
            )
        ),
        _Stroke(((0.58, 0.0), (0.48, -0.6)), 0.12),
        _Stroke(((0.78, 0.0), (0.92, -0.55)), 0.12),
        _Ellipse(-0.25, -0.1, 0.58, 0.6),
    ),
    "teapot": (
        _Ellipse(-0.6, 0.1, 0.4, 0.42),
        _Ellipse(-0.62, 0.1, 0.19, 0.2, 0),
        _Ellipse(0.0, 0.2, 0.6, 0.55),
        _Polygon(((0.35, 0.25), (0.7, -0.4), (1.0, -0.45), (0.6, 0.6))),
        _Polygon(((-0.35, -0.2), (-0.15, -0.5), (0.15, -0.5), (0.35, -0.2))),
        _Ellipse(0.0, -0.55, 0.14, 0.14),
    ),
    "truck": (
        _box(-0.98, -0.62, 0.28, 0.35),
        _Polygon(((0.36, -0.3), (0.68, -0.3), (0.98, 0.05), (0.98, 0.35), (0.36, 0.35))),
        _box(0.2, 0.15, 0.4, 0.35),
        _Ellipse(-0.58, 0.38, 0.24, 0.24),
        _Ellipse(0.6, 0.38, 0.24, 0.24),
    ),
    "rabbit": (
        _Ellipse(-0.22, 0.42, 0.58, 0.46),
        _Ellipse(0.42, -0.02, 0.36, 0.32),
        _Polygon(((0.18, -0.1), (-0.12, -0.9), (0.08, -0.98), (0.44, -0.25))),
        _Polygon(((0.36, -0.2), (0.38, -0.98), (0.6, -0.95), (0.6, -0.2))),
        _Ellipse(-0.8, 0.32, 0.2, 0.2),
        _Polygon(((0.0, 0.4), (0.5, 0.2), (0.65, 0.88), (0.0, 0.88))),
    ),
    "plane": (
        _Ellipse(0.05, -0.05, 0.95, 0.27),
        _Polygon(((-0.98, -0.65), (-0.7, -0.65), (-0.25, -0.1), (-0.85, 0.02))),
        _Polygon(((0.4, 0.0), (-0.2, 0.75), (-0.5, 0.75), (-0.2, 0.0))),
        _Polygon(((0.35, -0.15), (0.05, -0.6), (-0.2, -0.6), (-0.1, -0.15))),
    ),
    "cap": (
        _Ellipse(-0.25, 0.3, 0.7, 0.85),
        _box(-1.2, 0.3, 1.2, 1.3, 0),
        _Polygon(
            ((0.1, -0.02), (0.7, 0.08), (1.0, 0.3), (1.0, 0.48), (-0.95, 0.48), (-0.95, 0.25))
        ),
        _Ellipse(-0.25, -0.57, 0.14, 0.12),
    ),
    "hammer": (
        _box(-0.18, -0.4, 0.2, 0.98),
        _Polygon(((-0.98, -0.3), (-0.55, -0.9), (0.45, -0.9), (0.45, -0.35), (-0.35, -0.35))),
        _box(0.4, -0.98, 0.85, -0.22),
    ),
    "cat": (
        _Ellipse(-0.12, 0.45, 0.48, 0.52),
        _Ellipse(0.32, -0.35, 0.42, 0.36),
        _Polygon(((-0.08, -0.4), (-0.02, -0.95), (0.34, -0.6))),
        _Polygon(((0.3, -0.6), (0.66, -0.95), (0.72, -0.4))),
        _Polygon(((0.0, 0.1), (0.45, -0.1), (0.48, 0.96), (0.0, 0.96))),
        _Stroke(((-0.2, 0.86), (-0.75, 0.82), (-0.88, 0.4), (-0.75, -0.1)), 0.22),
    ),
    "train": (
        _box(-0.2, -0.2, 0.85, 0.4),
        _box(-0.88, -0.65, -0.2, 0.4),
        _box(-0.98, -0.82, -0.1, -0.6),
        _Polygon(((0.5, -0.15), (0.4, -0.7), (0.84, -0.7), (0.74, -0.15))),
        _Ellipse(-0.55, 0.45, 0.28, 0.28),
        _Ellipse(0.02, 0.48, 0.22, 0.22),
        _Ellipse(0.5, 0.48, 0.22, 0.22),
        _Polygon(((0.8, 0.1), (1.0, 0.68), (0.7, 0.68))),
    ),
}


@cache
def distance_field(name: str) -> Image.Image:
    """Return the signed distance of silhouette ``name``, facing right: a FIELD_SIZE-square
    image of mode ``F``.
    """
    inside = _paint(name)
    scale = inside.shape[0] / (2 * EXTENT)
    distance = (distance_transform_edt(~inside) - distance_transform_edt(inside)) / scale
    blocks = distance.reshape(FIELD_SIZE, _SUPERSAMPLING, FIELD_SIZE, _SUPERSAMPLING)
    return Image.fromarray(blocks.mean(axis=(1, 3)).astype(np.float32))


def _paint(name: str) -> np.ndarray:
    side = FIELD_SIZE * _SUPERSAMPLING
    scale = side / (2 * EXTENT)
    mask = Image.new("1", (side, side))
    draw = ImageDraw.Draw(mask)
    for part in _PARTS[name]:
        if isinstance(part, _Ellipse):
            x, y, rx, ry = part.x + EXTENT, part.y + EXTENT, part.radius_x, part.radius_y
            draw.ellipse(
                [(x - rx) * scale, (y - ry) * scale, (x + rx) * scale, (y + ry) * scale],
                fill=part.paint,
            )
            continue
        points = [((x + EXTENT) * scale, (y + EXTENT) * scale) for x, y in part.points]
        if isinstance(part, _Polygon):
            draw.polygon(points, fill=part.paint)
        else:
            draw.line(points, fill=part.paint, width=round(part.width * scale), joint="curve")
    return np.asarray(mask)
