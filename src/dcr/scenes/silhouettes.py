"""The twenty silhouettes of the demo's world, as signed distance fields.

A silhouette is painted once from a few polygons, ellipses and strokes and then kept as its signed
distance: negative inside, in the same units. A distance field gives the filled shape, its outline
and a border of any width at any size with smooth edges, from one small array.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt

from dcr.scenes.silhouette_parts import PARTS, Ellipse, Polygon

EXTENT = 1.5  # the field covers [-EXTENT, EXTENT] in both directions
FIELD_SIZE = 192  # samples a side
_SUPERSAMPLING = 2


@cache
def distance_field(name: str) -> Image.Image:
    """Return the signed distance of silhouette ``name``: FIELD_SIZE pixels a side, mode ``F``."""
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
    for part in PARTS[name]:
        if isinstance(part, Ellipse):
            x = part.x + EXTENT
            y = part.y + EXTENT
            left_top = ((x - part.radius_x) * scale, (y - part.radius_y) * scale)
            right_bottom = ((x + part.radius_x) * scale, (y + part.radius_y) * scale)
            draw.ellipse([left_top, right_bottom], fill=part.paint)
            continue
        points = [((x + EXTENT) * scale, (y + EXTENT) * scale) for x, y in part.points]
        if isinstance(part, Polygon):
            draw.polygon(points, fill=part.paint)
        else:
            draw.line(points, fill=part.paint, width=round(part.width * scale), joint="curve")
    return np.asarray(mask)
