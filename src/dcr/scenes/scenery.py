"""The class-linked surroundings of the demo's world: sky, horizon, ground and its texture.

Every class has its own two pairs of colours, its horizon and its ground. Photographs of a class
share their surroundings in the same loose way; without it, telling instances apart would be as good
as telling classes apart. Notation: ``x, y`` are pixel centres in [0, 1], (S, S) float32, y
downwards; colours are (3, 1, 1) RGB in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dcr.scenes.world import SCENE_CLASSES


class Scene(NamedTuple):
    """Surroundings of one class.

    Colours are hex, ``horizon`` is the height from the top; outline and texture are names.
    """

    sky_top: str
    sky_bottom: str
    ground_far: str
    ground_near: str
    horizon: float
    skyline: str
    texture: str


_SCENES: dict[str, Scene] = {
    "fish": Scene("#0b5d7a", "#2aa5b5", "#d9c58a", "#b99a5b", 0.68, "waves", "ripples"),
    "car": Scene("#f2b47e", "#f9dfb4", "#6d6a73", "#3f3d46", 0.55, "towers", "lanes"),
    "cup": Scene("#f3d9c9", "#ecc3b0", "#9a5b3c", "#6e3b25", 0.60, "flat", "planks"),
    "boat": Scene("#8fd0f5", "#d8f0fb", "#2d7fc1", "#12487f", 0.45, "flat", "ripples"),
    "duck": Scene("#bfe3c2", "#eef5cf", "#4fa08c", "#27665f", 0.40, "hills", "ripples"),
    "key": Scene("#4a3a5e", "#6b5580", "#a58a6f", "#7c634c", 0.66, "flat", "checks"),
    "flag": Scene("#5aa9e6", "#b7dcf4", "#8fbf5a", "#4c8a2f", 0.70, "hills", "grass"),
    "house": Scene("#f7c6d9", "#fdeef0", "#7cc576", "#3f8f46", 0.52, "hills", "grass"),
    "boot": Scene("#8a9a7b", "#b9c2a0", "#6b4f33", "#43301e", 0.48, "trees", "blotches"),
    "moon": Scene("#080b26", "#1f2a5c", "#2b2f4f", "#12142b", 0.74, "peaks", "blotches"),
    "whale": Scene("#c9d6df", "#eef3f6", "#3c6e8f", "#16374d", 0.32, "waves", "ripples"),
    "snail": Scene("#2f5d3a", "#5b8f4d", "#7a9a2f", "#46611a", 0.42, "trees", "grass"),
    "teapot": Scene("#a8324a", "#d0607a", "#f1e3d3", "#d4bfa8", 0.64, "flat", "checks"),
    "truck": Scene("#e8a13c", "#f6d98c", "#c97b3a", "#8f4a1f", 0.58, "peaks", "lanes"),
    "rabbit": Scene("#d6c4f0", "#f3ecfb", "#a5d66b", "#6aa53a", 0.46, "hills", "blotches"),
    "plane": Scene("#1d63c4", "#6fb1f0", "#f2f6fa", "#cfdde9", 0.72, "clouds", "blotches"),
    "cap": Scene("#f5e56b", "#fbf6c5", "#e0a96d", "#c0844a", 0.50, "towers", "checks"),
    "hammer": Scene("#5a6a72", "#93a2a8", "#c2b29a", "#8e7d66", 0.54, "flat", "planks"),
    "cat": Scene("#e07a5f", "#f2b89f", "#3d405b", "#26283d", 0.62, "towers", "planks"),
    "train": Scene("#7d4e9e", "#e59ac0", "#5b4a3f", "#3b2f2a", 0.44, "peaks", "lanes"),
}

_TAU = np.float32(2 * np.pi)


def rgb(colour: str) -> np.ndarray:
    """Return ``colour``, written ``#rrggbb``, as RGB in [0, 1], (3, 1, 1) float32."""
    return (
        np.frombuffer(bytes.fromhex(colour[1:]), np.uint8).astype(np.float32).reshape(3, 1, 1) / 255
    )


_PALETTES = {n: np.stack([rgb(c) for c in s[:4]]) for n, s in _SCENES.items()}


def draw_surroundings(
    class_index: int, x: np.ndarray, y: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Return the surroundings of a class with its variation inside the class, (3, S, S) float32.

    Horizon, tilt, colours, phases and sizes vary; the numbers drawn do not depend on the class.

    Args:
        class_index: place in `SCENE_CLASSES`.
        x: (S, S) float32 in (0, 1): of the pixel centres, from the left.
        y: likewise, from the top.
        generator: gives all draws.
    """
    name = SCENE_CLASSES[class_index]
    scene = _SCENES[name]
    colours = _PALETTES[name] + generator.normal(0, 0.075, (4, 3, 1, 1)).astype(np.float32)
    shift = generator.normal(0, 0.035)
    tilt = generator.normal(0, 0.05)
    phases = generator.random(4).astype(np.float32)
    size = np.float32(generator.uniform(0.8, 1.25))

    horizon = scene.horizon + shift + tilt * (x - 0.5) + _SKYLINES[scene.skyline](x / size, phases)
    depth = np.clip((y - scene.horizon) / (1 - scene.horizon), 0, 1)
    height = np.clip(y / scene.horizon, 0, 1)
    sky = colours[0] + (colours[1] - colours[0]) * height
    ground = colours[2] + (colours[3] - colours[2]) * depth
    ground = ground * (1 + 0.16 * _TEXTURES[scene.texture](x / size, y / size, phases))
    below = cover(horizon - y, x.shape[0])
    painted: np.ndarray = sky + (ground - sky) * below
    return painted.astype(np.float32)


def cover(distance: np.ndarray, image_size: int) -> np.ndarray:
    """Return how much of each pixel a shape covers, in [0, 1].

    Args:
        distance: signed, from the pixel's centre to the shape's edge, negative inside, in units of
            the image's side.
        image_size: pixels a side.
    """
    covered: np.ndarray = np.clip(np.float32(0.5) - distance * np.float32(image_size), 0, 1)
    return covered


def _sine(turns: np.ndarray) -> np.ndarray:
    wave: np.ndarray = np.sin(_TAU * turns)
    return wave


def _triangle(turns: np.ndarray) -> np.ndarray:
    wave: np.ndarray = 4 * np.abs(turns - np.floor(turns + 0.5)) - 1
    return wave


def _towers(x: np.ndarray, phases: np.ndarray) -> np.ndarray:
    column = np.floor(7 * x + phases[0])
    skyline: np.ndarray = -0.16 * np.abs(_sine(0.37 * column + phases[1]))
    return skyline


def _planks(x: np.ndarray, y: np.ndarray, phases: np.ndarray) -> np.ndarray:
    row = 7 * y + phases[0]
    texture: np.ndarray = 0.6 * _triangle(row) + 0.4 * np.sign(_sine(3 * x + 1.5 * np.floor(row)))
    return texture


_SKYLINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "flat": lambda x, p: np.zeros_like(x),
    "waves": lambda x, p: 0.02 * _sine(4 * x + p[0]),
    "hills": lambda x, p: 0.06 * _sine(x + p[0]) + 0.03 * _sine(2.3 * x + p[1]),
    "peaks": lambda x, p: 0.10 * _triangle(2 * x + p[0]) + 0.04 * _triangle(5 * x + p[1]),
    "trees": lambda x, p: (
        -0.10 * np.abs(_sine(3.5 * x + p[0])) - 0.03 * np.abs(_sine(8 * x + p[1]))
    ),
    "clouds": lambda x, p: (
        -0.07 * np.abs(_sine(1.5 * x + p[0])) - 0.04 * np.abs(_sine(3.2 * x + p[1]))
    ),
    "towers": _towers,
}

_TEXTURES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "ripples": lambda x, y, p: _sine(11 * y + 0.35 * _sine(2 * x + p[0]) + p[1]),
    "lanes": lambda x, y, p: _triangle(6 * y + p[0]),
    "planks": _planks,
    "checks": lambda x, y, p: np.sign(_sine(4 * x + p[0]) * _sine(4 * y + p[1])),
    "grass": lambda x, y, p: _sine(13 * x + 3 * y + p[0]) * _sine(5 * y + p[1]),
    "blotches": lambda x, y, p: (
        _sine(2.7 * x + p[0] + 0.3 * _sine(2 * y + p[1])) * _sine(3.1 * y + p[2])
    ),
}
