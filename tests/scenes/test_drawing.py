"""The world's pictures."""

import io

import numpy as np
import pytest
from PIL import Image

from dcr.scenes.drawing import VOID, encode_jpeg, render, render_mask
from dcr.scenes.silhouettes import distance_field
from dcr.scenes.world import DETAILS, SCENE_CLASSES, sample_attributes, sample_pair


def picture(attributes, index=0, size=32, seed=0, split="train"):
    return np.asarray(render(attributes, seed, split, index, size)).astype(np.int16)


def draw(index, size=32):
    return picture(sample_attributes(0, "train", index), index, size)


@pytest.mark.parametrize("size", [32, 64])
def test_pictures_are_square_rgb_of_the_size_asked_for(size):
    image = render(sample_attributes(0, "train", 0), 0, "train", 0, size)
    assert (image.size, image.mode) == ((size, size), "RGB")


def test_a_picture_does_not_depend_on_what_was_drawn_before():
    forwards = [draw(index) for index in range(6)]
    backwards = [draw(index) for index in reversed(range(6))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert len({image.tobytes() for image in forwards}) == 6


def test_seed_split_and_index_each_change_the_nuisance():
    attributes = sample_attributes(0, "train", 0)
    others = [
        picture(attributes, seed=1),
        picture(attributes, split="test"),
        picture(attributes, index=1),
    ]
    assert len({image.tobytes() for image in [picture(attributes), *others]}) == 4


def test_jpeg_bytes_are_deterministic_and_keep_the_picture():
    image = render(sample_attributes(0, "train", 3), 0, "train", 3, 64)
    data = encode_jpeg(image)
    assert data == encode_jpeg(image)
    decoded = np.asarray(Image.open(io.BytesIO(data))).astype(np.int16)
    assert np.abs(decoded - np.asarray(image).astype(np.int16)).mean() < 3


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("detail", DETAILS)
def test_a_detail_changes_its_own_pixels_and_leaves_the_nuisance(detail, size):
    for index in range(8):
        first, second = (picture(a, index, size) for a in sample_pair(0, "test", detail, index))
        changed = (np.abs(first - second).max(axis=-1) > 40).mean()
        untouched = (first == second).all(axis=-1).mean()
        # visible, and yet more than half of the picture is the same to the last bit, noise included
        assert changed > 0.005, (detail, index)
        assert untouched > 0.5, (detail, index)


# the part of the picture, as (left, top, right, bottom), to which each detail is confined
WINDOWS = {
    "presence": (0.6, 0.0, 1.0, 0.4),
    "count": (0.0, 0.0, 0.6, 0.3),
    "structure": (0.0, 0.75, 1.0, 1.0),
    "text": (0.6, 0.6, 1.0, 1.0),
}


@pytest.mark.parametrize("detail", WINDOWS)
def test_details_beside_the_object_stay_in_their_corner(detail):
    left, top, right, bottom = (round(64 * edge) for edge in WINDOWS[detail])
    for index in range(8):
        first, second = (picture(a, index, 64) for a in sample_pair(0, "test", detail, index))
        different = (first != second).any(axis=-1)
        inside = np.zeros_like(different)
        inside[top:bottom, left:right] = True
        assert different.any()
        assert not (different & ~inside).any()


def test_class_explains_more_pixel_variance_than_any_detail():
    """Analysis of variance over pixels, with the share that groups of this size explain by
    chance taken off.
    """
    num_images = 800
    attributes = [sample_attributes(0, "train", index) for index in range(num_images)]
    pixels = np.stack([picture(a, i, 16).ravel() for i, a in enumerate(attributes)]).astype(
        np.float64
    )
    pixels -= pixels.mean(0)
    total = (pixels**2).sum()

    def share(name):
        values = np.array([a[name] for a in attributes])
        groups = [pixels[values == value] for value in np.unique(values)]
        between = sum(len(group) * (group.mean(0) ** 2).sum() for group in groups)
        within = (total - between) / (num_images - len(groups))
        return (between - (len(groups) - 1) * within) / total

    details = {detail: share(detail) for detail in DETAILS}
    assert max(details.values()) < 0.06, details
    assert 0.35 < share("class") < 0.6
    assert share("class") > max(details.values())


@pytest.mark.parametrize("name", SCENE_CLASSES)
def test_silhouettes_fill_their_square_and_are_lopsided(name):
    inside = np.asarray(distance_field(name)) < 0
    rows, columns = np.nonzero(inside)
    extent = max(np.ptp(rows), np.ptp(columns)) / (len(inside) / 3)
    assert 0.9 < extent / 2 < 1.05
    overlap = (inside & inside[:, ::-1]).sum() / (inside | inside[:, ::-1]).sum()
    assert overlap < 0.85


def test_silhouettes_are_all_different():
    shapes = [np.asarray(distance_field(name)) < 0 for name in SCENE_CLASSES]
    for i, one in enumerate(shapes):
        for other in shapes[:i]:
            assert (one & other).sum() / (one | other).sum() < 0.9


@pytest.mark.parametrize("index", range(6))
def test_the_mask_covers_what_another_colour_of_the_object_changes(index):
    solid = sample_attributes(0, "train", index) | {"state": DETAILS["state"].index("solid")}
    red, blue = (picture(solid | {"color": color}, index, 64) for color in (0, 3))
    changed = np.abs(red - blue).max(axis=-1) > 60
    mask = render_mask(solid, 0, "train", index, 64)
    assert set(np.unique(mask)) == {0, solid["class"] + 1, VOID}
    assert changed[mask == solid["class"] + 1].mean() > 0.97
    assert changed[mask == 0].mean() < 0.01  # through the soft edge of what is painted over it


def test_a_hollow_object_has_the_mask_of_a_solid_one():
    attributes = sample_attributes(0, "train", 1)
    masks = [render_mask(attributes | {"state": state}, 0, "train", 1, 64) for state in (0, 1)]
    assert np.array_equal(*masks)
