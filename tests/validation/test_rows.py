"""What one sample's row says, and each reason that the sample alone gives."""

import hashlib
from dataclasses import replace

import pytest

from corpus import encode
from dcr.data.shards import Sample
from dcr.validation import rows as rows_module
from dcr.validation.rows import SCHEMA, measure_samples
from picture_cases import with_orientation
from validation_tables import LIMITS

# Sizes of the download, which was made smaller.
ORIGINAL = {"original_width": 480, "original_height": 400}
SAME = {"original_width": 48, "original_height": 40}


def findings(**changes):
    fields = {
        "key": "0",
        "image": encode(),
        "image_extension": "jpg",
        "caption": "a fish",
    } | changes
    return measure_samples([Sample(**fields)], "00000", LIMITS)[0]["findings"]


def test_a_good_sample_has_no_finding_and_all_its_measures():
    image = encode((48, 40))
    (row,) = measure_samples(
        [Sample("k", image, "jpg", "a fish", {"width": 48}, offset=512)], "00000", LIMITS
    )
    assert set(row) == set(SCHEMA.names)
    assert row["findings"] == []
    assert (row["key"], row["shard"], row["offset"], row["num_bytes"]) == (
        "k",
        "00000",
        512,
        len(image),
    )
    assert (row["sha256"], row["caption_length"]) == (hashlib.sha256(image).hexdigest(), 6)
    assert (row["declared_width"], row["declared_height"]) == (48, None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"image": None}, ["image_missing"]),
        ({"image": None, "problems": ("unsafe_member",)}, ["unsafe_member"]),
        ({"image": None, "problems": ("member_too_large",)}, ["member_too_large"]),
        ({"image": None, "caption": None, "problems": ("tar_truncated",)}, ["tar_truncated"]),
        ({"image": encode((48, 31))}, ["image_too_small"]),
        ({"image": encode((200, 40))}, ["extreme_aspect_ratio"]),
        ({"image": encode((40, 121))}, ["extreme_aspect_ratio"]),
        ({"image": encode((120, 100))}, ["too_many_pixels"]),
        ({"image": b"nothing"}, ["image_corrupt"]),
        ({"caption": None}, ["caption_missing"]),
        ({"caption": " \n"}, ["caption_empty"]),
        ({"caption": "IMG_0001.JPG"}, ["caption_is_file_or_url"]),
        ({"caption": "['a fish', 'a pond']"}, ["caption_is_list"]),
        ({"caption": '["a fish"]'}, ["caption_is_list"]),
        ({"caption": "[a fish]"}, []),
        ({"caption": None, "problems": ("caption_not_text",)}, ["caption_not_text"]),
        ({"caption": "https://example.org/a?b=c"}, ["caption_is_file_or_url"]),
        ({"caption": "see https://example.org for more"}, []),
        ({"caption": "caf\ufffd", "problems": ("caption_not_utf8",)}, ["caption_not_utf8"]),
        ({"metadata": {"width": 48, "height": 41}}, ["size_mismatch"]),
        ({"image": encode((48, 40), exif=with_orientation(6))}, ["rotated"]),
        (
            {
                "image": encode((48, 40), exif=with_orientation(6)),
                "metadata": {"width": 40, "height": 48},
            },
            ["rotated"],
        ),
        (
            {
                "image": encode((48, 40), exif=with_orientation(6)),
                "metadata": {"width": 48, "height": 40},
            },
            ["rotated"],
        ),
        (
            {
                "image": encode((48, 40), exif=with_orientation(6)),
                "metadata": {"width": 48, "height": 48},
            },
            ["rotated", "size_mismatch"],
        ),
        ({"metadata": {"width": 40, "height": 48}}, ["size_mismatch"]),
        ({"metadata": {"sha256": "0" * 64}}, ["sha256_mismatch"]),
        ({"metadata": {"sha256": "0" * 64, "width": 48, "height": 40, **ORIGINAL}}, []),
        (
            {"metadata": {"sha256": "0" * 64, "width": 48, "height": 40, **SAME}},
            ["sha256_mismatch"],
        ),
        ({"image": None, "problems": ("dotted_name",)}, ["dotted_name"]),
        ({"problems": ("dotted_image_left_out",)}, ["dotted_image_left_out"]),
        ({"metadata": {"sha256": hashlib.sha256(encode()).hexdigest().upper()}}, []),
        ({"metadata": {"width": "48", "height": -1, "sha256": 7}}, []),
        ({"metadata": {"width": 10**30, "height": True}}, []),
    ],
)
def test_each_defect_has_its_reason(changes, expected):
    assert findings(**changes) == expected


def test_a_blank_image_is_named():
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (90, 90, 200)).save(buffer, "PNG")
    assert findings(image=buffer.getvalue()) == ["blank_image"]


def test_several_defects_are_all_named():
    assert findings(image=encode((20, 20)), caption="") == ["caption_empty", "image_too_small"]


def test_a_row_tells_the_language_of_the_caption_and_of_how_many_it_is_one():
    captions = ("two dogs playing in the snow", "a dog")
    samples = [
        Sample("0", encode(), "jpg", captions[0], captions=captions),
        Sample("1", encode(), "jpg", "Ein Hund spielt mit einem Ball im Schnee"),
        Sample("2", encode(), "jpg", " "),
        Sample("3", encode(), "jpg", None),
    ]
    rows = measure_samples(samples, "a", LIMITS)
    assert [row["caption_language"] for row in rows] == ["en", "de", "und", None]
    assert [row["num_captions"] for row in rows] == [2, 1, 1, 0]


def test_without_a_least_confidence_no_language_is_told():
    samples = [Sample(str(i), encode(), "jpg", text) for i, text in enumerate(("a dog", " "))]
    rows = measure_samples(samples, "a", replace(LIMITS, min_language_confidence=None))
    assert [row["caption_language"] for row in rows] == [None, None]


def test_what_looks_at_captions_is_asked_for_once_a_batch(monkeypatch):
    """Of a tokenizer of many megabytes the asking alone took longer than the counting."""
    asked = []
    for name in ("token_counter", "language_detector"):
        monkeypatch.setattr(rows_module, name, lambda *of, name=name: asked.append(name) or len)
    samples = [Sample(str(i), encode(), "jpg", "a fish") for i in range(5)]
    measure_samples(samples, "a", replace(LIMITS, tokenizer="clip"))
    assert sorted(asked) == ["language_detector", "token_counter"]


def test_captions_are_counted_in_tokens_and_those_that_are_cut_off_are_named():
    limits = replace(LIMITS, tokenizer="clip", context_length=5)
    samples = [Sample("0", encode(), "jpg", text) for text in ("a fish", "a big fish swims", None)]
    rows = measure_samples(samples, "a", limits)
    assert [row["caption_tokens"] for row in rows] == [4, 6, None]
    assert [row["caption_truncated"] for row in rows] == [False, True, None]
    assert [row["findings"] for row in rows] == [[], ["caption_truncated"], ["caption_missing"]]
