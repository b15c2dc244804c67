"""The losses against open_clip's own, and against the papers' formulas pair by pair."""

import math

import pytest
import torch
from open_clip.loss import ClipLoss, SigLipLoss
from torch.nn import functional as F

from dcr.alignment.contrast import Contrast
from dcr.models.backbones import load_backbone
from models import tiny_hf_clip, tiny_open_clip, tiny_siglip
from timm_models import tiny_open_clip_siglip


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 5, 4, generator=generator).unbind()


def test_clips_loss_is_open_clips(batch):
    unit = [F.normalize(part, dim=1) for part in batch]
    torch.testing.assert_close(Contrast(12.0)(*batch), ClipLoss()(*unit, torch.tensor(12.0)))


def test_siglips_loss_is_open_clips(batch):
    unit = [F.normalize(part, dim=1) for part in batch]
    expected = SigLipLoss()(*unit, torch.tensor(12.0), torch.tensor(-3.0))
    torch.testing.assert_close(Contrast(12.0, -3.0)(*batch), expected)


def test_siglips_loss_pair_by_pair(batch):
    images, texts = (F.normalize(part, dim=1) for part in batch)
    total = 0.0
    for i, image in enumerate(images):
        for j, text in enumerate(texts):
            z = 12.0 * float(image @ text) - 3.0
            total += math.log1p(math.exp(-z if i == j else z))
    assert Contrast(12.0, -3.0)(*batch).item() == pytest.approx(total / 5, rel=1e-5)


def test_held_out_batches_are_of_nearly_equal_size(batch):
    contrast = Contrast(3.0)
    images, texts = batch
    expected = (3 * contrast(images[:3], texts[:3]) + 2 * contrast(images[3:], texts[3:])) / 5
    assert contrast.held_out(images, texts, batch_size=4) == pytest.approx(expected.item())
    assert contrast.held_out(images, texts, batch_size=5) == pytest.approx(
        contrast(images, texts).item()
    )


@pytest.mark.parametrize(
    "write", [tiny_open_clip, tiny_hf_clip, tiny_siglip, tiny_open_clip_siglip]
)
def test_a_model_has_the_loss_that_it_was_trained_by(tmp_path, write):
    folder = write(tmp_path / "m")
    backbone = load_backbone(
        str(folder) if (folder / "config.json").is_file() else f"local-dir:{folder}"
    )
    contrast = Contrast.of(backbone)
    assert contrast.scale == pytest.approx(math.exp(2.5))
    is_siglip = "siglip" in write.__name__
    assert (contrast.bias is not None) == is_siglip
    assert contrast.bias == (backbone.logit_bias if is_siglip else None)
