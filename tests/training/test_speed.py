"""Options for memory and speed give the result that the run has without them."""

import pytest
import torch

from dcr.backbones import load_backbone
from dcr.projector import Projector
from dcr.training import jobs
from dcr.training.model import ConditionModel, LoraOptions, add_lora
from models import pixels, tiny_hf_clip, tiny_open_clip, tiny_siglip
from training_world import fixed_projector, open_job, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def train(world, folder, **changes):
    job = open_job(world, folder, stage2_max_train_steps=3, **changes)
    return jobs.train_adapters(job, fixed_projector(world)).towers["dcr"]


def test_gradient_checkpointing_changes_no_bit(world, tmp_path, caplog):
    """LoRA's dropout included: what is computed again draws the same."""
    caplog.set_level("INFO", "dcr")
    kept = train(world, tmp_path / "kept")
    again = train(world, tmp_path / "again", gradient_checkpointing=True)
    assert [name for name in kept if not torch.equal(kept[name], again[name])] == []
    assert "no place" not in caplog.text
    train(world, tmp_path / "savings", gradient_checkpointing=True, constant_prompt=True)
    assert "dcr: gradient checkpointing and compile leave no place for all exact savings" in caplog.text


@pytest.mark.parametrize("write", [tiny_open_clip, tiny_hf_clip, tiny_siglip])
def test_every_familys_blocks_are_computed_again(tmp_path, write):
    prefix = "local-dir:" if write is tiny_open_clip else ""
    backbone = load_backbone(f"{prefix}{write(tmp_path / 'model')}")
    add_lora(backbone, LoraOptions(2, 2, 0.1, "none"))
    model = ConditionModel(backbone, Projector(backbone.embed_dim, 4)).train()
    layer = next(module for name, module in backbone.visual.named_modules() if name.endswith("q_proj"))
    calls, gradients = [], []
    layer.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(2):
        calls.clear()
        torch.manual_seed(0)
        loss = model(pixels())[1].sum()
        gradients.append(torch.autograd.grad(loss, list(model.trainable().values()), allow_unused=True))
        backbone.enable_gradient_checkpointing()
    assert len(calls) == 2  # forward, and again in the backward pass
    for kept, again in zip(*gradients, strict=True):
        assert torch.equal(kept, again)


@pytest.mark.slow
def test_compiled_blocks_give_the_same_within_rounding(world, tmp_path):
    runs = []
    for on in (False, True):
        job = open_job(world, tmp_path / str(on), stage2_max_train_steps=3, lora_dropout=0.0, compile=on)
        runs.append(jobs.train_adapters(job, fixed_projector(world)).runs["dcr"].losses)
    for name in ("loss", "grad_norm"):
        assert list(runs[1][name]) == pytest.approx(list(runs[0][name]), rel=1e-3), name
