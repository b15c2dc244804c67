"""Every recipe on a real backbone: it loads, and its full-size modules fit together. No
weights, no network.
"""

import re
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import torch
from kedro.framework.project import configure_project
from torch.utils.flop_counter import FlopCounterMode

from dcr.data.sources import STABLE_DIFFUSION, backbone_model, diffusion_models
from dcr.datasets.published import PublishedTablesDataset
from dcr.errors import UserError
from dcr.framework.config_loader import RecipeConfigLoader
from dcr.models.backbones import lora_targets, split_attention
from dcr.models.projector import Projector
from dcr.parameters import build_parameters
from dcr.pipeline_registry import register_pipelines
from dcr.settings import CONFIG_LOADER_ARGS
from full_size import TEXT_ENCODERS, backbone_on_meta, unet_on_meta, vae_on_meta

CONF = Path(__file__).parents[2] / "conf"
# (pixels, patch tokens, width of the embedding, blocks, latents a side), from the models' papers
# and configurations
EXPECTED = {
    "openai_vitb16_224": (224, 196, 512, 12, 28),
    "openai_vitl14_224": (224, 256, 768, 24, 28),
    "openai_vitl14_336": (336, 576, 768, 24, 42),
    "metaclip_vitl14_224": (224, 256, 768, 24, 28),
    "metaclip_vith14_224": (224, 256, 1024, 32, 28),
    "dfn_vith14_224": (224, 256, 1024, 32, 28),
    "dfn_vith14_378": (378, 729, 1024, 32, 47),
    "siglip_so400m_224": (224, 256, 1152, 27, 28),
    "siglip_so400m_384": (384, 729, 1152, 27, 48),
    "siglip2_so400m_384": (384, 729, 1152, 27, 48),
}
recipes = pytest.mark.parametrize("recipe", EXPECTED)
LEDGER = "ledger"  # which trains nothing


@cache
def config(recipe):
    configure_project("dcr")
    return RecipeConfigLoader(str(CONF), env=recipe, **CONFIG_LOADER_ARGS)


@cache
def backbone(recipe):
    model, _ = backbone_model(config(recipe)["globals"]["backbone"])
    return backbone_on_meta(model.repo_id)


def pixels(count, side, dtype=torch.float32):
    return torch.empty(count, 3, side, side, device="meta", dtype=dtype)


def test_every_recipe_on_photographs_is_tested_here():
    extending = {
        path.parent.name
        for path in CONF.glob("*/globals.yml")
        if "extends: photographs" in path.read_text()
    }
    assert extending == {*EXPECTED, LEDGER}


class TestConfiguration:
    @recipes
    def test_is_whole_and_named_as_its_folder(self, recipe):
        loader = config(recipe)
        sections = build_parameters(loader["parameters"])
        assert loader["globals"]["recipe"] == sections["recipe"].name == recipe
        assert sections["models"].backbone == loader["globals"]["backbone"]
        assert f"data/06_models/{recipe}/encoder" == loader["catalog"]["encoder"]["filepath"]

    @recipes
    def test_runs_its_models_first_and_renders_nothing(self, recipe):
        pipelines = config(recipe)["globals"]["pipelines"]
        assert pipelines[0] == "models"
        assert "scenes" not in pipelines
        assert set(pipelines) <= set(register_pipelines())

    @recipes
    def test_small_images_are_rejected_at_the_backbones_size(self, recipe):
        parameters = build_parameters(config(recipe)["parameters"])
        assert parameters["validation"].min_image_size == EXPECTED[recipe][0]

    @recipes
    def test_what_is_not_pinned_to_a_commit_says_so(self, recipe):
        model, _ = backbone_model(config(recipe)["globals"]["backbone"])
        text = (CONF / recipe / "globals.yml").read_text()
        assert model.is_pinned != ("no commit is pinned" in text)

    @recipes
    def test_a_step_sees_as_many_samples_as_published_in_stage_1_as_one_batch(self, recipe):
        training = build_parameters(config(recipe)["parameters"])["training"]
        sizes = [
            (stage.train_batch_size, stage.gradient_accumulation_steps)
            for stage in (training.stage1, training.stage2)
        ]
        assert sizes == [(32, 1), (16, 2)]
        assert training.stage1.loss == "reconstruction"  # DCR's contrast would be another one

    def test_mirrors_of_stable_diffusion_are_pinned(self):
        assert set(STABLE_DIFFUSION) == set(TEXT_ENCODERS)
        assert all(model.is_pinned for name in STABLE_DIFFUSION for model in diffusion_models(name))

    def test_the_recipe_wins_over_what_it_extends_and_that_over_base(self, tmp_path):
        for name, text in {
            "base": "a: 1\nb: 1\nc: 1\n",
            "middle": "b: 2\nc: 2\n",
            "own": "extends: middle\nc: 3\n",
            "local": "",
        }.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "globals.yml").write_text(text)
        loaded = RecipeConfigLoader(str(tmp_path), env="own", **CONFIG_LOADER_ARGS)["globals"]
        assert loaded == {"a": 1, "b": 2, "c": 3, "extends": "middle"}

    def test_extending_what_is_not_there_is_one_sentence(self, tmp_path):
        for name, text in {"base": "a: 1\n", "own": "extends: mddle\n"}.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "globals.yml").write_text(text)
        with pytest.raises(UserError, match="extends 'mddle', but there is no other recipe"):
            RecipeConfigLoader(str(tmp_path), env="own", **CONFIG_LOADER_ARGS)["globals"]

    def test_each_loader_reads_its_own_recipes_globals_whichever_was_opened_last(self, tmp_path):
        for name in ("base", "one", "two"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "globals.yml").write_text(f"recipe: {name}\n")
        (tmp_path / "base" / "parameters.yml").write_text("name: ${globals:recipe}\n")
        one, two = (
            RecipeConfigLoader(str(tmp_path), env=name, **CONFIG_LOADER_ARGS)
            for name in ("one", "two")
        )
        assert one["parameters"] == {"name": "one"}
        assert two["parameters"] == {"name": "two"}

    def test_a_loader_that_failed_leaves_the_others_as_they_were(self, tmp_path):
        for name, text in {"base": "", "own": "recipe: own\n", "bad": "extends: none\n"}.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "globals.yml").write_text(text)
        (tmp_path / "base" / "parameters.yml").write_text("name: ${globals:recipe}\n")
        loader = RecipeConfigLoader(str(tmp_path), env="own", **CONFIG_LOADER_ARGS)
        with pytest.raises(UserError, match="extends 'none'"):
            RecipeConfigLoader(str(tmp_path), env="bad", **CONFIG_LOADER_ARGS)
        assert loader["parameters"] == {"name": "own"}

    def test_recipes_that_extend_each_other_are_one_sentence(self, tmp_path):
        for name, text in {
            "base": "a: 1\n",
            "own": "extends: other\n",
            "other": "extends: own\n",
        }.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "globals.yml").write_text(text)
        with pytest.raises(
            UserError, match=r"other/globals\.yml: extends 'own', which extends this recipe in turn"
        ):
            RecipeConfigLoader(str(tmp_path), env="own", **CONFIG_LOADER_ARGS)["globals"]


class TestLedger:
    """Published encoders and published numbers go by one name."""

    def test_it_downloads_encoders_and_judges_and_nothing_else(self):
        loader = config(LEDGER)
        sections = build_parameters(loader["parameters"])
        assert loader["globals"]["recipe"] == LEDGER
        assert loader["globals"]["pipelines"] == ["models", "ledger"]
        assert sections["models"].diffusion is None
        assert sections["models"].more_encoders == loader["globals"]["more_encoders"]

    def test_its_encoders_are_the_published_bases_at_the_recipes_commits(self):
        tables = published(LEDGER)
        encoders = config(LEDGER)["globals"]["more_encoders"]
        assert set(encoders) == {n for n, one in tables.encoders.items() if one.base is None}
        for name, source in encoders.items():
            assert source == config(name)["globals"]["backbone"]

    @recipes
    def test_a_recipe_whose_backbone_is_published_stands_beside_it(self, recipe):
        tables = published(recipe)
        own = build_parameters(config(recipe)["parameters"])["ledger"].own
        has_dcr = f"dcr_{recipe}" in tables.encoders
        assert own == ({recipe: "base", f"dcr_{recipe}": "dcr_unaligned"} if has_dcr else {})


def published(recipe):
    path = CONF.parent / config(recipe)["globals"]["published"]
    return PublishedTablesDataset(filepath=str(path)).load()


class TestShapes:
    @recipes
    def test_tower(self, recipe):
        size, tokens, embed_dim, _, _ = EXPECTED[recipe]
        tower = backbone(recipe)
        assert tower.image_size == size
        assert tower.encode_image(pixels(2, size)).shape == (2, tower.embed_dim) == (2, embed_dim)
        assert tower.patch_tokens(pixels(2, size)).shape[:2] == (2, tokens)

    @recipes
    def test_lora_touches_six_layers_of_every_block(self, recipe):
        visual = deepcopy(backbone(recipe).visual)
        with torch.device("meta"):
            split_attention(visual)
        targets = lora_targets(visual)
        assert len(targets) == 6 * EXPECTED[recipe][3]
        assert {name.rsplit(".", 1)[-1] for name in targets} in (
            {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"},
            {"q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"},
        )
        assert not any("head" in name or "embed" in name for name in targets)

    @recipes
    def test_the_vae_makes_the_latents_that_the_plan_counts_with(self, recipe):
        size, *_, side = EXPECTED[recipe]
        vae = vae_on_meta()
        assert vae.encode(pixels(1, size)).latent_dist.mean.shape == (1, 4, side, side)
        assert size // 2 ** (len(vae.config.block_out_channels) - 1) == side

    @pytest.mark.parametrize(
        ("recipe", "name"),
        [("openai_vitl14_224", name) for name in STABLE_DIFFUSION]
        + [
            (recipe, "sd-2.1")
            for recipe in ("openai_vitl14_336", "dfn_vith14_378", "siglip_so400m_384")
        ],
    )
    def test_projector_text_encoder_and_unet_agree(self, recipe, name):
        _, _, embed_dim, _, side = EXPECTED[recipe]
        unet = unet_on_meta(name)
        width = unet.config.cross_attention_dim
        with torch.device("meta"):
            condition = Projector(embed_dim, width)(torch.empty(2, embed_dim))
        assert condition.shape == (2, TEXT_ENCODERS[name].hidden_size)
        latents = torch.empty(2, 4, side, side, device="meta", dtype=torch.bfloat16)
        prompt = torch.empty(2, 77, width, device="meta", dtype=torch.bfloat16)
        assert unet(latents, torch.zeros(2, device="meta"), prompt).sample.shape == latents.shape


class TestCounts:
    """The numbers that a recipe's comment gives are counted here, not remembered."""

    @recipes
    def test_comment(self, recipe):
        text = (CONF / recipe / "globals.yml").read_text().replace("\n# ", " ")
        found = re.search(
            r"tower of (\d+) M parameters, (\d+) patch tokens.*? (\d+) x \3 latents.*? ([\d.]+)"
            r" TFLOP",
            text,
        )
        assert found, "the recipe's comment has no counts"
        size, tokens, _, _, side = EXPECTED[recipe]
        parameters = sum(p.numel() for p in backbone(recipe).visual.parameters()) / 1e6
        assert (int(found[2]), int(found[3])) == (tokens, side)
        assert int(found[1]) == pytest.approx(parameters, rel=0.005, abs=0.5)
        assert float(found[4]) == pytest.approx(teraflops(recipe, size, side), rel=0.01)


def teraflops(recipe, size, side, batch=16):
    """Count a stage-2 batch: the grid of predictions and the views' through the UNet, forward and
    to its inputs back, and images and views through the tower likewise. Two operations for a
    multiplication with addition.
    """
    pairs = batch * (batch + 1)
    return 2 * (pairs * _unet_flops(side) + 2 * batch * _tower_flops(recipe, size)) / 1e12


@cache
def _unet_flops(side):
    unet = unet_on_meta("sd-2.1-base")
    latents = torch.empty(1, 4, side, side, device="meta", dtype=torch.bfloat16)
    prompt = torch.empty(1, 77, 1024, device="meta", dtype=torch.bfloat16)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        unet(latents, torch.zeros(1, device="meta"), prompt)
    return counter.get_total_flops()


def _tower_flops(recipe, size):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(recipe).encode_image(pixels(1, size))
    return counter.get_total_flops()
