"""What all pages share: they open offline, and their pictures are the images themselves."""

import base64
import io

import jinja2
import numpy as np
import pytest
from PIL import Image

import finished_run
from dcr.pages import fill_template, to_data_uri


def decode(uri):
    kind, _, data = uri.partition(";base64,")
    return kind, Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_small_image_survives_as_it_is_and_a_large_one_becomes_a_thumbnail():
    small = finished_run.draw_image(1)
    kind, shown = decode(to_data_uri(small))
    assert kind == "data:image/png"
    assert np.array_equal(np.asarray(shown), np.asarray(small))
    kind, shown = decode(to_data_uri(Image.new("RGBA", (900, 600))))
    assert (kind, shown.size, shown.mode) == ("data:image/jpeg", (224, 149), "RGB")


def test_a_page_forbids_every_request_and_escapes_text():
    rows = [{"key": "<script>alert(1)</script>", "images": ["data:,"] * 2}]
    measures = dict.fromkeys(
        ("feature_cosine", "unrelated_feature_cosine", "pixel_difference", "least_pixel_difference",
         "unrelated_pixel_difference"), 0.5,
    )  # fmt: skip
    page = fill_template("dcr.positives", "page.html", measures=measures, rows=rows)
    assert "default-src 'none'" in page
    assert "script-src" not in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_name_that_a_template_lacks_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="measures"):
        fill_template("dcr.positives", "page.html", rows=[{"key": "a", "images": ["data:,"]}])
