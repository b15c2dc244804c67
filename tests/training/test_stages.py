"""The two stages on tiny models in the real formats."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

import models
from dcr.data.views import ViewAugmentation
from dcr.errors import UserError
from dcr.training.contrast import build_contrast
from dcr.training.model import add_lora, merge_tower, prepare_tower, tower_state
from dcr.training.monitoring.monitor import Monitor
from dcr.training.stages import load_projector, train_adapter, train_end_to_end, train_projector
from dcr.training.work import Data, Work
from training_world import load_world, parameters, run_of, write_world

VIEW = ViewAugmentation(0.1, 0.1, 0.1, 0.05, 0.0, 0.0, (0.9, 1.0), (1 / 1.1, 1.1))
TUNING = parameters(
    **{"tuning.num_blocks": 1, "tuning.lora.rank": 2, "tuning.lora.alpha": 2}
).tuning


def tuning(mode="lora", num_blocks=1, **lora):
    changed = TUNING.lora.model_copy(update=lora)
    return TUNING.model_copy(update={"mode": mode, "num_blocks": num_blocks, "lora": changed})


def work(data, name="stage1", objective="reconstruction", steps=3, batch_size=4, **changes):
    """Return the work of stage 1, or of a method's only run, with numbers for its own stage."""
    stage = "stage1" if name == "stage1" else "stage2"
    values = {
        "stage1.loss": objective if name == "stage1" else "reconstruction",
        f"{stage}.max_train_steps": steps,
        f"{stage}.train_batch_size": batch_size,
        f"{stage}.learning_rate": 1e-2,
        "end_to_end_max_train_steps": steps,
        "optimizer.max_skipped_steps": 3,
        "execution.constant_prompt": True,
        "execution.shared_prefix": True,
        "held_out.every_steps": 2,
    }
    run = run_of(parameters(**values | changes), name)
    assert run.objective == objective
    return Work(data, run, build_contrast(run), Monitor)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A backbone, a diffusion model and a latent cache of 24 images."""
    folder = write_world(tmp_path_factory.mktemp("world"))
    backbone, diffusion, latents = load_world(folder)
    return backbone, diffusion, Data.open(latents, diffusion, VIEW, parameters().held_out, seed=0)


def state_of(backbone, diffusion):
    parts = {
        "clip": backbone.model,
        "unet": diffusion.unet,
        "vae": diffusion.vae,
        "text": diffusion.text_encoder,
    }
    return {f"{p}.{n}": t.clone() for p, m in parts.items() for n, t in m.state_dict().items()}


def assert_same(before, after):
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_stage_1_changes_the_projector_alone(world):
    backbone, diffusion, data = world
    before = state_of(backbone, diffusion)
    start = train_projector(backbone, diffusion, work(data, **{"stage1.learning_rate": 1e-30}))[
        0
    ].state_dict()
    projector, result, errors = train_projector(backbone, diffusion, work(data))
    assert_same(before, state_of(backbone, diffusion))
    assert all(
        not torch.equal(tensor, start[name]) for name, tensor in projector.state_dict().items()
    )
    assert result.trainable_parameters == sum(t.numel() for t in projector.state_dict().values())
    assert set(errors) == {"empty_prompt", "before", "after", "wrong_image"}
    assert list(result.losses["step"]) == [1, 2, 3]


@pytest.mark.parametrize("method", ["dcr", "reconstruction", "naive"])
def test_stage_2_changes_lora_of_the_image_tower_alone(world, method):
    backbone, diffusion, data = world
    projector = train_projector(backbone, diffusion, work(data))[0].state_dict()
    kept = {name: tensor.clone() for name, tensor in projector.items()}

    untrained = deepcopy(backbone)
    add_lora(untrained, TUNING.lora)
    before = state_of(untrained, diffusion)
    trained = deepcopy(backbone)
    adapter, result = train_adapter(
        trained, diffusion, projector, work(data, method, method, batch_size=3), TUNING
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
    add_lora(tower, TUNING.lora)
    found = {
        name.split(".lora_A")[0] for name, _ in tower.visual.named_parameters() if "lora_A" in name
    }
    attention = [f"attn.{part}" for part in ("q_proj", "k_proj", "v_proj", "out_proj")]
    expected = {
        f"transformer.resblocks.{b}.{p}"
        for b in range(2)
        for p in (*attention, "mlp.c_fc", "mlp.c_proj")
    }
    assert found == expected


def test_a_merged_adapter_gives_the_trained_features(world):
    backbone, diffusion, data = world
    projector = train_projector(backbone, diffusion, work(data))[0].state_dict()
    trained = deepcopy(backbone)
    adapter, _ = train_adapter(trained, diffusion, projector, work(data, "dcr", "dcr"), TUNING)
    trained.visual.eval()
    merged = deepcopy(backbone)
    merge_tower(merged, TUNING, adapter)
    pixels = models.pixels()
    with torch.no_grad():
        assert torch.allclose(trained.encode_image(pixels), merged.encode_image(pixels), atol=1e-5)
        assert not torch.allclose(
            backbone.encode_image(pixels), merged.encode_image(pixels), atol=1e-3
        )


def test_an_adapter_of_another_rank_is_refused(world):
    other = deepcopy(world[0])
    options = tuning(rank=4, alpha=4, dropout=0.0, bias="none")
    prepare_tower(other, options)
    with pytest.raises(UserError, match="do not fit the image tower"):
        merge_tower(deepcopy(world[0]), TUNING, tower_state(other, options))


def test_two_runs_with_one_seed_are_equal_bit_for_bit(world):
    backbone, diffusion, data = world
    projector = train_projector(backbone, diffusion, work(data))[0].state_dict()
    runs = [
        train_adapter(deepcopy(backbone), diffusion, projector, work(data, "dcr", "dcr"), TUNING)
        for _ in range(2)
    ]
    assert_same(runs[0][0], runs[1][0])
    pd.testing.assert_frame_equal(runs[0][1].losses, runs[1][1].losses, check_exact=True)


def test_the_projector_lowers_the_held_out_noise_error(world):
    _, _, errors = train_projector(*world[:2], work(world[2], steps=40, batch_size=8))
    assert errors["after"] < errors["before"]


def test_too_few_samples_for_a_batch_is_said_in_one_sentence(world):
    with pytest.raises(UserError, match="fewer than train_batch_size 1000"):
        train_projector(*world[:2], work(world[2], batch_size=1000))


def test_weights_of_something_else_are_no_projector():
    with pytest.raises(UserError, match="not a projector's"):
        load_projector({"weight": torch.from_numpy(np.zeros((2, 2)))})


@pytest.mark.parametrize(
    ("mode", "num_blocks", "part"),
    [("full", 1, ""), ("last_blocks", 1, "transformer.resblocks.1.")],
)
def test_whole_weights_train_and_are_put_back(world, mode, num_blocks, part):
    backbone, diffusion, data = world
    asked = tuning(mode, num_blocks)
    projector = train_projector(backbone, diffusion, work(data))[0].state_dict()
    trained, untouched = deepcopy(backbone), state_of(backbone, diffusion)
    state, result = train_adapter(trained, diffusion, projector, work(data, "dcr", "dcr"), asked)

    after = state_of(trained, diffusion)
    changed = {name for name in after if not torch.equal(after[name], untouched[name])}
    expected = {
        f"clip.visual.{name}"
        for name, _ in backbone.visual.named_parameters()
        if name.startswith(part)
    }
    assert changed == expected == {f"clip.visual.{name}" for name in state}
    assert result.trainable_parameters == sum(t.numel() for t in state.values())
    merged = deepcopy(backbone)
    assert merge_tower(merged, asked, state) is None
    assert_same(state_of(merged, diffusion), after)


def test_more_blocks_than_there_are_is_said(world):
    with pytest.raises(UserError, match=r"tuning\.num_blocks 3 is more than the 2 blocks"):
        prepare_tower(deepcopy(world[0]), tuning("last_blocks", 3))


def test_lora_sits_on_the_chosen_layers_alone(world):
    tower = deepcopy(world[0])
    add_lora(tower, tuning(dropout=0.0, bias="none", targets=["q", "v"]).lora)
    found = {
        name.split(".lora_A")[0] for name, _ in tower.visual.named_parameters() if "lora_A" in name
    }
    assert found == {
        f"transformer.resblocks.{b}.attn.{p}" for b in range(2) for p in ("q_proj", "v_proj")
    }


def test_every_bias_can_train(world):
    tower = deepcopy(world[0])
    prepare_tower(tower, tuning(dropout=0.0, bias="all"))
    trainable = {name for name, p in tower.visual.named_parameters() if p.requires_grad}
    assert {
        name for name, _ in tower.visual.named_parameters() if name.endswith("bias")
    } <= trainable


def test_end_to_end_trains_projector_and_tower_at_once(world):
    backbone, diffusion, data = world
    start = train_projector(backbone, diffusion, work(data, **{"stage1.learning_rate": 1e-30}))[
        0
    ].state_dict()
    trained = deepcopy(backbone)
    options = work(data, "end_to_end", "dcr", **{"stage1.learning_rate": 1e-3})
    state, result, projector = train_end_to_end(trained, diffusion, options, TUNING)

    assert all(
        not torch.equal(tensor, start[name]) for name, tensor in projector.state_dict().items()
    )
    assert all(tensor.abs().sum() > 0 for name, tensor in state.items() if "lora_B" in name)
    numbers = [sum(t.numel() for t in part.values()) for part in (state, start)]
    assert result.trainable_parameters == sum(numbers)
    first = max((t - start[name]).abs().max() for name, t in projector.state_dict().items())
    # AdamW moves a weight by its learning rate a step at most, here projector's.
    assert first <= 3 * 1e-3 * 1.01


def test_patch_tokens_condition_trains_through_both_stages(world):
    backbone, diffusion, data = world
    projector, _, errors = train_projector(backbone, diffusion, work(data), "patch_tokens")
    assert projector(torch.zeros(2, 24), torch.zeros(2, 16, 32)).shape == (2, 17, 16)
    assert errors["after"] != errors["wrong_image"]
    state = projector.state_dict()
    assert_same(load_projector(state).state_dict(), state)
    adapter, _ = train_adapter(
        deepcopy(backbone), diffusion, state, work(data, "dcr", "dcr"), TUNING
    )
    assert all(tensor.abs().sum() > 0 for name, tensor in adapter.items() if "lora_B" in name)


def test_a_strong_pull_keeps_the_tower_at_its_base(world):
    backbone, diffusion, data = world
    projector = train_projector(backbone, diffusion, work(data))[0].state_dict()
    pixels, distances = models.pixels(), []
    for weight in (0.0, 1000.0):
        trained = deepcopy(backbone)
        train_adapter(
            trained,
            diffusion,
            projector,
            work(data, "dcr", "dcr", 20, **{"loss.base_embedding_weight": weight}),
            TUNING,
        )
        trained.visual.eval()
        with torch.no_grad():
            same = F.cosine_similarity(trained.encode_image(pixels), backbone.encode_image(pixels))
        distances.append((1 - same).mean().item())
    assert distances[1] < 0.5 * distances[0]


def test_a_product_trained_end_to_end_has_a_projector_of_its_own(world, tmp_path):
    from dcr.training import jobs
    from dcr.training.job import open_job
    from training_world import parameters

    small = {
        "stage1.max_train_steps": 2,
        "stage2.max_train_steps": 2,
        "end_to_end_max_train_steps": 3,
    }
    for method, baseline in (("end_to_end", "dcr"), ("dcr", "end_to_end")):
        p = parameters(method=method, baselines=[baseline], **small)
        job = open_job(p, world[2].latents, world[0], world[1], tmp_path / method)
        stage1, _, _ = jobs.train_projector(job)
        trained = jobs.train_adapters(job, stage1)
        assert {name: run.steps for name, run in trained.runs.items()} == {
            "end_to_end": 3,
            "dcr": 2,
        }
        assert all(torch.equal(trained.projector[n], stage1[n]) for n in stage1) == (
            method == "dcr"
        )
