import pytest

from dcr.models.backbones.families.open_clip_timm import TimmBackbone
from models import FAMILIES, tiny_model_cfg


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {family: str(write(root / family)) for family, write in FAMILIES.items()}


@pytest.fixture(scope="module")
def timm_backbone():
    """A timm tower with SigLIP's attention pooling, as open_clip builds it."""
    vision_cfg = {
        "timm_model_name": "test_vit",
        "timm_pool": "map",
        "timm_proj": "none",
        "image_size": 160,
    }
    model_cfg = tiny_model_cfg(
        embed_dim=64, custom_text=True, init_logit_bias=-10.0, vision_cfg=vision_cfg
    )
    return TimmBackbone.build(
        model_cfg, {"mean": (0.5,) * 3, "std": (0.5,) * 3, "resize_mode": "squash"}
    )
