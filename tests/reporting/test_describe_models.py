"""The models in words."""

from types import SimpleNamespace

import pytest
from torch import nn

from dcr.models.projector import Projector
from dcr.reporting.models import describe
from diffusion_models import tiny_diffusion


def test_sizes_and_prediction_type_are_told(tmp_path):
    backbone = SimpleNamespace(
        visual=nn.Linear(1000, 2000), image_size=32, embed_dim=24, source="local-dir:clip"
    )
    facts = dict(describe(backbone, tiny_diffusion(tmp_path), Projector(24, 16)))
    assert facts["Backbone"] == "local-dir:clip"
    assert facts["Image tower"] == "2.0 M weights, 32 px, 24 features"
    assert facts["Projector"] == f"{48 + (24 + 1) * 16 + (16 + 1) * 16} weights, 24 to 16"
    assert facts["UNet, frozen"].endswith("predicts v-prediction")


@pytest.mark.parametrize(("size", "words"), [(999, "999 weights"), (2000, "2.0 k weights")])
def test_small_models_are_counted_exactly(tmp_path, size, words):
    backbone = SimpleNamespace(
        visual=nn.Linear(size, 1, bias=False), image_size=1, embed_dim=1, source=""
    )
    assert (
        words in dict(describe(backbone, tiny_diffusion(tmp_path), Projector(1, 1)))["Image tower"]
    )
