"""The details in the corners of a picture, painted over its object: sun, dots and sign.

Each function draws the same random numbers whatever the attributes are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dcr.scenes.painting import INK, WHITE, paint, shows, window
from dcr.scenes.scenery import cover, rgb

_SUN = rgb("#ffd83a")
_RAYS = rgb("#f26a1b")


def draw_sun(
    canvas: np.ndarray, attributes: Mapping[str, int], generator: np.random.Generator
) -> None:
    """Paint the sun, if the ``attributes`` have one, on ``canvas``; ``generator`` moves it."""
    centre = np.array([0.86, 0.14]) + generator.normal(0, 0.012, 2)
    turn = generator.random()
    if not shows(attributes, "presence", "with a sun"):
        return
    part, x, y = window(canvas, 0.6, 0, 1, 0.4)
    radius = np.hypot(x - centre[0], y - centre[1])
    rays = 0.022 * np.cos(10 * np.arctan2(y - centre[1], x - centre[0]) + turn)
    paint(part, cover(radius - 0.108 - rays, canvas.shape[-1]), _RAYS)
    paint(part, cover(radius - 0.083, canvas.shape[-1]), _SUN)


def draw_dots(
    canvas: np.ndarray, attributes: Mapping[str, int], generator: np.random.Generator
) -> None:
    """Paint as many dots as the ``attributes`` say on ``canvas``; ``generator`` moves them."""
    start = np.array([0.11, 0.11]) + generator.normal(0, 0.012, 2)
    part, x, y = window(canvas, 0, 0, 0.65, 0.3)
    for number in range(attributes["count"] + 1):
        radius = np.hypot(x - start[0] - 0.19 * number, y - start[1])
        paint(part, cover(radius - 0.088, canvas.shape[-1]), WHITE)
        paint(part, cover(radius - 0.062, canvas.shape[-1]), INK)


def draw_sign(
    canvas: np.ndarray, attributes: Mapping[str, int], generator: np.random.Generator
) -> None:
    """Paint the sign with the ``attributes``' letter on ``canvas``; ``generator`` moves it."""
    centre = np.array([0.84, 0.80]) + generator.normal(0, 0.012, 2)
    size = canvas.shape[-1]
    part, x, y = window(canvas, 0.6, 0.6, 1, 1)
    u, v = x - centre[0], y - centre[1]
    plate = np.maximum(np.abs(u), np.abs(v))
    paint(part, cover(plate - 0.145, size), INK)
    paint(part, cover(plate - 0.122, size), WHITE)
    if shows(attributes, "text", "with the letter T"):
        bar = np.maximum(np.abs(u) - 0.08, np.abs(v + 0.062) - 0.02)
        letter = np.minimum(bar, np.maximum(np.abs(u) - 0.021, np.abs(v) - 0.082))
    else:
        letter = np.abs(np.hypot(u, v) - 0.062) - 0.021
    paint(part, cover(letter, size), INK)
