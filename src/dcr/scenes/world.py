"""What the demo's world is made of, and how a picture of it is put into words.

A scene has a class (a silhouette in its own surroundings) and nine details that are independent of
the class, one for each type of MMVP-VLM. Attributes are a dict ``{"class": int, "orientation": int,
...}`` of indices into :data:`SCENE_CLASSES` and :data:`DETAILS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dcr import seeds

SCENE_CLASSES: tuple[str, ...] = (
    "fish", "car", "cup", "boat", "duck", "key", "flag", "house", "boot", "moon",
    "whale", "snail", "teapot", "truck", "rabbit", "plane", "cap", "hammer", "cat", "train",
)  # fmt: skip

DETAILS: dict[str, tuple[str, ...]] = {
    "orientation": ("facing left", "facing right"),
    "presence": ("without a sun", "with a sun"),
    "state": ("solid", "hollow"),
    "count": ("with one dot", "with two dots", "with three dots"),
    "position": ("up high", "down low"),
    "color": ("red", "yellow", "green", "blue"),
    "structure": ("by a plain wall", "by a striped wall"),
    "text": ("with the letter T", "with the letter O"),
    "viewpoint": ("near", "far"),
}

MMVP_TYPES: dict[str, str] = {
    "Orientation and Direction": "orientation",
    "Presence of Specific Features": "presence",
    "State and Condition": "state",
    "Quantity and Count": "count",
    "Positional and Relational Context": "position",
    "Color and Appearance": "color",
    "Structural Characteristics": "structure",
    "Texts": "text",
    "Viewpoint and Perspective": "viewpoint",
}

# All three are sentences that the captions also contain; near and far stand side by side, so that
# neither is favoured.
TEMPLATES: tuple[str, ...] = ("a photo of a {c}", "a photo of a near {c}", "a photo of a far {c}")

_BEFORE_NOUN = ("viewpoint", "color", "state")
_AFTER_NOUN = ("orientation", "position", "presence", "count", "structure", "text")


def sample_attributes(seed: int, split: str, index: int) -> dict[str, int]:
    """Draw the class and the nine details of image ``index``, each uniform and independent.

    The draw depends on ``(seed, split, index)`` alone, so that neither order nor number of images
    matters.

    Args:
        seed: the world's.
        split: names the stream of draws.
        index: of the image in the stream.
    """
    generator = seeds.numpy_generator(seed, "attributes", split, index)
    attributes = {"class": int(generator.integers(len(SCENE_CLASSES)))}
    return attributes | {
        detail: int(generator.integers(len(words))) for detail, words in DETAILS.items()
    }


def sample_pair(
    seed: int, split: str, detail: str, index: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Draw the attributes of two images that differ in ``detail`` alone, in random order.

    Args:
        seed: the world's.
        split: names the stream of draws.
        detail: one of `DETAILS`.
        index: of the pair in the stream.
    """
    first = sample_attributes(seed, split, index)
    generator = seeds.numpy_generator(seed, "pair", split, index)
    one, other = generator.choice(len(DETAILS[detail]), size=2, replace=False)
    return first | {detail: int(one)}, first | {detail: int(other)}


def caption(
    attributes: Mapping[str, int],
    generator: np.random.Generator | None = None,
    class_probability: float = 1.0,
    detail_probability: float = 1.0,
) -> str:
    """Describe a scene in a fixed word order; class and details are each named at random.

    Without ``generator`` everything is named. Whatever is not named is left out; an unnamed class
    is "thing". The full caption has at most 28 tokens of CLIP's BPE, start and end included.

    Args:
        attributes: of the scene: ``class`` and details, each a place in its list of words.
        generator: draws what is named; None names everything.
        class_probability: that the class is named.
        detail_probability: that a detail is named, of each.
    """
    probabilities = {"class": class_probability} | dict.fromkeys(DETAILS, detail_probability)
    if generator is None:
        return _compose(attributes, list(probabilities))
    draws = generator.random(len(probabilities))
    return _compose(
        attributes, [n for (n, p), d in zip(probabilities.items(), draws, strict=True) if d < p]
    )


def statement(attributes: Mapping[str, int], detail: str) -> str:
    """Return the MMVP-VLM statement on ``attributes`` that names class and ``detail`` alone.

    An example is ``a red fish``. The benchmark itself puts "a photo of " before it, which makes it
    a caption of the same form as :func:`caption`'s.
    """
    return _compose(attributes, ["class", detail]).removeprefix("a photo of ")


def _compose(attributes: Mapping[str, int], named: Sequence[str]) -> str:
    words = {detail: DETAILS[detail][attributes[detail]] for detail in DETAILS if detail in named}
    noun = SCENE_CLASSES[attributes["class"]] if "class" in named else "thing"
    before = [words[detail] for detail in _BEFORE_NOUN if detail in words]
    after = [words[detail] for detail in _AFTER_NOUN if detail in words]
    return " ".join(["a photo of a", *before, noun, *after])
