"""Configurations that are kept here are those of the models that recipes name."""

from dcr.data.sources import STABLE_DIFFUSION, backbone_model
from dcr.models.architectures import BACKBONES, DIFFUSION_MODELS, BlankTokenizer
from dcr.parameters.conf_files import read_mapping
from project import PROJECT


def test_every_backbone_of_a_recipe_is_known():
    named = [read_mapping(path).get("backbone", "") for path in PROJECT.glob("conf/*/globals.yml")]
    on_hub = [backbone_model(name) for name in named if name and not name.startswith("local-dir:")]
    assert {model.repo_id for model, _ in on_hub} == {*BACKBONES}


def test_every_diffusion_model_with_a_short_name_is_known():
    assert {*DIFFUSION_MODELS} == {*STABLE_DIFFUSION}


def test_a_blank_tokenizer_makes_tokens_of_its_length():
    tokens = BlankTokenizer(77)(["", "a"], padding="max_length", return_tensors="pt")
    assert tokens.input_ids.shape == tokens.attention_mask.shape == (2, 77)
    assert not tokens.input_ids.any()
