import re

import numpy as np
import pytest

from corpus import encode, good_samples
from dcr.data.shards import Sample, write_shard
from dcr.validation.charts import histogram_svg
from dcr.validation.judging import summarize
from dcr.validation.measuring import measure_shard
from dcr.validation.page import render_page
from dcr.validation.reasons import REASONS
from validation_tables import CAPTIONS, LIMITS, POLICIES, judged

EXPECTATIONS = {
    "results": [
        {
            "source": "shards",
            "suite": "samples",
            "expectation": "expect_it",
            "kwargs": {"column": "status"},
            "severity": "critical",
            "success": False,
            "observed_value": "12 %",
            "worst_shards": {"00000": 3},
        }
    ],
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    samples = good_samples(6)
    samples[1] = Sample(
        "small",
        encode((20, 20)),
        "jpg",
        "<script>alert(1)</script>",
        {"url": "https://example.org/small.jpg"},
    )
    samples[2] = Sample("broken", b"nothing", "jpg", "a broken one", {"path": "photos/broken.jpg"})
    samples.append(Sample("copy", samples[3].image, "jpg", "a copy"))
    path = str(write_shard(tmp_path_factory.mktemp("shards"), "00000", samples))
    tables = judged(
        tmp_path_factory.mktemp("tables"), measure_shard(path, "00000", LIMITS), animated="reject"
    )
    return render_page(
        tables,
        summarize(tables),
        {"00000": path},
        EXPECTATIONS,
        POLICIES,
        num_examples=4,
        sets={"mmvp_vlm": 270},
        captions=CAPTIONS,
    )


def test_the_page_needs_nothing_from_outside(page):
    assert not re.search(r"(src|href)=[\"'](?!data:)", page)
    assert "<script" not in page
    assert "@import" not in page


def test_languages_and_cut_captions_are_told(page):
    assert "en 75.0%, undetermined 25.0%" in page
    assert (
        "1 of 4 (25.0%) have more than the 77 tokens that are read, by the tokenizer clip" in page
    )


def test_captions_cannot_write_into_the_page(page):
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_every_reason_is_shown_with_examples(page):
    assert "image_too_small" in page
    assert REASONS["image_corrupt"] in page
    assert 'alt="sample small"' in page  # decodes, so it is shown
    assert 'alt="sample broken"' not in page  # does not, so it is only named
    assert "not decoded" in page


def test_counts_expectations_and_charts_are_shown(page):
    assert re.search(r"<b class=\"yes\">4</b><span>accepted", page)
    assert "expect_it" in page
    assert "not met" in page
    assert page.count("<svg") == 8


def test_cards_name_where_a_sample_came_from(page, tmp_path):
    assert "https://example.org/small.jpg" in page
    assert "photos/broken.jpg" in page  # though it cannot be decoded


def test_a_measure_of_one_value_is_a_number_and_no_chart(tmp_path):
    path = str(write_shard(tmp_path, "00000", [Sample("a", encode(), "jpg", "a caption")]))
    tables = judged(tmp_path / "tables", measure_shard(path, "00000", LIMITS))
    page = render_page(
        tables, summarize(tables), {"00000": path}, EXPECTATIONS, POLICIES, 4, {}, CAPTIONS
    )
    assert "<svg" not in page
    assert page.count("in every image") == 8


def test_the_sets_whose_images_were_looked_for_are_named(page):
    assert "Looked for images of mmvp_vlm (270)." in page


def test_groups_of_duplicates_are_shown_the_kept_one_first(page):
    assert "1 picture occurs more than once" in page
    group = page.split("1 picture occurs more than once")[1].split("</div>\n</div>")[0]
    assert re.findall(r'alt="sample (\w+)"', group) == ["000000003", "copy"]
    assert "2 samples" in group


def test_histograms_show_all_values_and_state_their_range():
    svg = str(histogram_svg(np.arange(100.0), "sizes", num_bins=4))
    assert svg.count("<rect") == 4
    assert "median 49.5" in svg
    assert [int(n) for n in re.findall(r": (\d+)</title>", svg)] == [25, 25, 25, 25]


def test_a_histogram_of_one_value_is_drawn():
    assert str(histogram_svg(np.full(5, 32.0), "sizes")).count("<rect") == 1
