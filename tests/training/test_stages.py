"""The two stages on tiny models in the real formats."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch

import models
from dcr.errors import UserError
from dcr.training.model import LoraOptions, add_lora, merge_adapter
from dcr.training.objectives import ObjectiveOptions
from dcr.training.run import RunOptions
from dcr.training.stages import Data, load_projector, train_adapter, train_projector
from dcr.transforms import ViewAugmentation
from training_world import load_world, write_world

VIEW = ViewAugmentation(0.1, 0.1, 0.1, 0.05, 0.0, 0.0, (0.9, 1.0), (1 / 1.1, 1.1))
LORA = LoraOptions(rank=2, alpha=2, dropout=0.1, bias="lora_only")
OPTIONS = ObjectiveOptions(
    temperature=0.1, rows_per_chunk=2, gather_negatives=False, contrast_weight=1.0, reconstruction_weight=1.0
)


def run_options(name="stage1", objective="reconstruction", **changes):
    values = {
        "seed": 0, "max_train_steps": 3, "train_batch_size": 4, "gradient_accumulation_steps": 1,
        "learning_rate": 1e-2, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8,
        "adam_weight_decay": 0.01, "max_grad_norm": 1.0, "max_skipped_steps": 3,
        "mixed_precision": "no", "constant_prompt": True, "shared_prefix": True,
        "num_workers": 0, "validate_every_steps": 2,
    }  # fmt: skip
    return RunOptions(name=name, objective=objective, **values | changes)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A backbone, a diffusion model and a latent cache of 24 images."""
    folder = write_world(tmp_path_factory.mktemp("world"))
    backbone, diffusion, latents = load_world(folder)
    return backbone, diffusion, Data.open(latents, diffusion, VIEW, 0.3, 8, seed=0)


def state_of(backbone, diffusion):
    parts = {"clip": backbone.model, "unet": diffusion.unet, "vae": diffusion.vae, "text": diffusion.text_encoder}
    return {f"{p}.{n}": t.clone() for p, m in parts.items() for n, t in m.state_dict().items()}


def assert_same(before, after):
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_stage_1_changes_the_projector_alone(world):
    backbone, diffusion, data = world
    before = state_of(backbone, diffusion)
    start = train_projector(backbone, diffusion, data, run_options(learning_rate=1e-30), OPTIONS)[0].state_dict()
    projector, result, errors = train_projector(backbone, diffusion, data, run_options(), OPTIONS)
    assert_same(before, state_of(backbone, diffusion))
    assert all(not torch.equal(tensor, start[name]) for name, tensor in projector.state_dict().items())
    assert result.trainable_parameters == sum(t.numel() for t in projector.state_dict().values())
    assert set(errors) == {"empty_prompt", "before", "after", "wrong_image"}
    assert list(result.losses["step"]) == [1, 2, 3]


@pytest.mark.parametrize("method", ["dcr", "reconstruction", "naive"])
def test_stage_2_changes_lora_of_the_image_tower_alone(world, method):
    backbone, diffusion, data = world
    projector = train_projector(backbone, diffusion, data, run_options(), OPTIONS)[0].state_dict()
    kept = {name: tensor.clone() for name, tensor in projector.items()}

    untrained = deepcopy(backbone)
    add_lora(untrained, LORA)
    before = state_of(untrained, diffusion)
    trained = deepcopy(backbone)
    adapter, result = train_adapter(
        trained, diffusion, projector, data, run_options(method, method, train_batch_size=3), OPTIONS, LORA
    )
    after = state_of(trained, diffusion)

    assert_same(kept, projector)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    lora = {name for name in after if name.startswith("clip.visual.") and "lora_" in name}
    biases = {
        name for name in after
        if name.startswith("clip.visual.") and name.endswith("base_layer.bias")
    }  # fmt: skip
    assert lora
    assert changed <= lora | biases
    assert {name for name in lora if "lora_B" in name} <= changed
    assert result.trainable_parameters == sum(after[name].numel() for name in lora | biases)
    assert sum(t.numel() for t in adapter.values()) == result.trainable_parameters


def test_lora_sits_on_attention_and_mlp_of_every_block_and_nowhere_else(world):
    tower = deepcopy(world[0])
    add_lora(tower, LORA)
    found = {name.split(".lora_A")[0] for name, _ in tower.visual.named_parameters() if "lora_A" in name}
    attention = [f"attn.{part}" for part in ("q_proj", "k_proj", "v_proj", "out_proj")]
    expected = {f"transformer.resblocks.{b}.{p}" for b in range(2) for p in (*attention, "mlp.c_fc", "mlp.c_proj")}
    assert found == expected


def test_a_merged_adapter_gives_the_trained_features(world):
    backbone, diffusion, data = world
    projector = train_projector(backbone, diffusion, data, run_options(), OPTIONS)[0].state_dict()
    trained = deepcopy(backbone)
    adapter, _ = train_adapter(trained, diffusion, projector, data, run_options("dcr", "dcr"), OPTIONS, LORA)
    trained.visual.eval()
    merged = deepcopy(backbone)
    merge_adapter(merged, LORA, adapter)
    pixels = models.pixels()
    with torch.no_grad():
        assert torch.allclose(trained.encode_image(pixels), merged.encode_image(pixels), atol=1e-5)
        assert not torch.allclose(backbone.encode_image(pixels), merged.encode_image(pixels), atol=1e-3)


def test_an_adapter_of_another_rank_is_refused(world):
    from dcr.training.model import adapter_state

    other = deepcopy(world[0])
    add_lora(other, LoraOptions(4, 4, 0.0, "none"))
    with pytest.raises(UserError, match="does not fit the image tower"):
        merge_adapter(deepcopy(world[0]), LORA, adapter_state(other))


def test_two_runs_with_one_seed_are_equal_bit_for_bit(world):
    backbone, diffusion, data = world
    projector = train_projector(backbone, diffusion, data, run_options(), OPTIONS)[0].state_dict()
    runs = [
        train_adapter(deepcopy(backbone), diffusion, projector, data, run_options("dcr", "dcr"), OPTIONS, LORA)
        for _ in range(2)
    ]
    assert_same(runs[0][0], runs[1][0])
    pd.testing.assert_frame_equal(runs[0][1].losses, runs[1][1].losses, check_exact=True)


def test_the_projector_lowers_the_held_out_noise_error(world):
    _, _, errors = train_projector(*world, run_options(max_train_steps=40, train_batch_size=8), OPTIONS)
    assert errors["after"] < errors["before"]


def test_too_few_samples_for_a_batch_is_said_in_one_sentence(world):
    with pytest.raises(UserError, match="fewer than train_batch_size 1000"):
        train_projector(*world, run_options(train_batch_size=1000), OPTIONS)


def test_weights_of_something_else_are_no_projector():
    with pytest.raises(UserError, match="not a projector's"):
        load_projector({"weight": torch.from_numpy(np.zeros((2, 2)))})
