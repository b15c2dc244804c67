"""Options for memory and speed give the result that the run has without them."""

from functools import partialmethod

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import nn
from torch._dynamo.utils import counters

from dcr.models.backbones import load_backbone, transformer_blocks
from dcr.models.projector import Projector
from dcr.training import cost, jobs, trainer
from dcr.training.cost import measure
from dcr.training.model import ConditionModel, add_lora
from dcr.training.step import MicroStep
from dcr.training.unet.upsampling import FoldedUpsampling
from models import pixels, tiny_hf_clip, tiny_open_clip, tiny_siglip
from training_cuts import assert_same
from training_world import (
    EXACT_SAVINGS,
    fixed_projector,
    lora,
    open_job,
    open_micro_step,
    write_world,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def train(world, folder, **changes):
    job = open_job(world, folder, **{"stage2.max_train_steps": 3}, **changes)
    return jobs.train_adapters(job, fixed_projector(world)).towers["dcr"]


@pytest.mark.parametrize("which", ["tower", "all"])
def test_gradient_checkpointing_changes_no_bit(world, tmp_path, caplog, which):
    """LoRA's dropout included: what is computed again draws the same."""
    caplog.set_level("INFO", "dcr")
    kept = train(world, tmp_path / "kept")
    again = train(world, tmp_path / "again", **{"execution.gradient_checkpointing": which})
    assert [name for name in kept if not torch.equal(kept[name], again[name])] == []
    assert "no place" not in caplog.text
    train(
        world,
        tmp_path / "savings",
        **{"execution.gradient_checkpointing": which, "execution.constant_prompt": True},
    )
    assert ("dcr: gradient checkpointing leaves no place" in caplog.text) == (which == "all")


@pytest.mark.parametrize(("free", "recomputed"), [(0, ["dcr"]), (10**12, [])])
def test_memory_may_decide_about_the_towers_blocks_and_changes_no_bit(
    world, tmp_path, monkeypatch, free, recomputed
):
    """Stage 1's tower is frozen and keeps nothing, so there is nothing to decide."""
    asked, recompute = [], MicroStep.recompute_tower

    def noted(self):
        asked.append(self.run.name)
        recompute(self)

    kept = train(world, tmp_path / "kept")
    monkeypatch.setattr(MicroStep, "recompute_tower", noted)
    monkeypatch.setattr(cost, "free_bytes", lambda *_: free)
    auto = {"execution.gradient_checkpointing": "auto"}
    decided = train(world, tmp_path / "auto", **auto)
    jobs.train_projector(open_job(world, tmp_path / "stage1", **auto))
    assert asked == recomputed
    assert [name for name in kept if not torch.equal(kept[name], decided[name])] == []


@pytest.mark.parametrize("method", ["dcr", "reconstruction", "naive"])
def test_deterministic_algorithms_change_no_bit_on_a_cpu(world, tmp_path, monkeypatch, method):
    """And all that a run does has one: what has none would be refused."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # taken back after the test
    shown = {"monitoring.images_every_steps": 2, "monitoring.diagnostics_every_steps": 2}
    drawn = {"monitoring.num_images": 2, "monitoring.num_denoising_steps": 2}
    asked, fit = [], trainer.Trainer.fit

    def noted(self):
        asked.append(torch.are_deterministic_algorithms_enabled())
        return fit(self)

    monkeypatch.setattr(trainer.Trainer, "fit", noted)
    found = []
    for wanted in (False, True):
        changes = {"execution.deterministic": wanted, "method": method}
        numbers = {"stage2.max_train_steps": 3} | shown | drawn | changes
        job = open_job(world, tmp_path / str(wanted), **numbers)
        (tower,) = jobs.train_adapters(job, fixed_projector(world)).towers.values()
        found.append(tower)
    assert asked == [False, True]
    assert_same(*found)


def test_the_towers_checkpoints_go_with_all_exact_savings(world):
    gradients, costs = [], []
    for which in ("none", "tower"):
        micro_step, collated = open_micro_step(
            world, **{"execution.gradient_checkpointing": which}, **EXACT_SAVINGS
        )
        costs.append(measure(micro_step, 32))
        micro_step(collated, 0, 2)
        gradients.append([p.grad for p in micro_step.model.trainable().values()])
    for kept, again in zip(*gradients, strict=True):
        assert torch.equal(kept, again)
    assert costs[1].image_bytes < costs[0].image_bytes / 2
    assert costs[1].pair_bytes == costs[0].pair_bytes


def test_folded_upsampling_goes_with_blocks_of_the_unet_that_are_computed_again(world):
    """It lies between the blocks, and is there in the backward pass as in the forward pass."""
    gradients = []
    for which in ("none", "all"):
        changes = {"execution.gradient_checkpointing": which, "execution.folded_upsampling": True}
        micro_step, collated = open_micro_step(world, **changes)
        layers = micro_step.diffusion.unet.modules()
        (layer,) = [layer for layer in layers if isinstance(layer, FoldedUpsampling)]
        sizes = []
        layer.register_forward_hook(lambda *args: sizes.append(args[2].shape[-1]))  # noqa: B023
        micro_step(collated, 0, 2)
        assert set(sizes) == {8}
        gradients.append([p.grad for p in micro_step.model.trainable().values()])
    for kept, again in zip(*gradients, strict=True):
        assert torch.equal(kept, again)


@pytest.mark.parametrize("write", [tiny_open_clip, tiny_hf_clip, tiny_siglip])
def test_every_familys_blocks_are_computed_again(tmp_path, write):
    prefix = "local-dir:" if write is tiny_open_clip else ""
    backbone = load_backbone(f"{prefix}{write(tmp_path / 'model')}")
    add_lora(backbone, lora(rank=2, alpha=2, bias="none"))
    model = ConditionModel(backbone, Projector(backbone.embed_dim, 4)).train()
    layer = next(
        module for name, module in backbone.visual.named_modules() if name.endswith("q_proj")
    )
    calls, gradients = [], []
    layer.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(2):
        calls.clear()
        torch.manual_seed(0)
        loss = model(pixels())[1].sum()
        gradients.append(
            torch.autograd.grad(loss, list(model.trainable().values()), allow_unused=True)
        )
        backbone.enable_gradient_checkpointing()
    assert len(calls) == 2  # forward, and again in the backward pass
    for kept, again in zip(*gradients, strict=True):
        assert torch.equal(kept, again)


def test_channels_last_is_the_same_within_rounding(world):
    found = []
    for on in (False, True):
        changes = {"execution.channels_last": on}
        micro_step, collated = open_micro_step(world, **EXACT_SAVINGS, **changes)
        unet = micro_step.diffusion.unet
        weights = [p for p in unet.parameters() if p.shape[2:] == (3, 3)]
        weights += [kernel for kernel in unet.buffers() if kernel.shape[2:] == (4, 4)]
        assert all(p.is_contiguous(memory_format=torch.channels_last) == on for p in weights)
        loss = micro_step(collated, 0, 2)[0]["loss"]
        gradients = [p.grad.flatten() for p in micro_step.model.trainable().values()]
        found.append((loss, torch.cat(gradients)))
    (expected, expected_gradient), (loss, gradient) = found
    assert loss == pytest.approx(expected, rel=1e-5)
    assert (gradient - expected_gradient).norm() <= 1e-4 * expected_gradient.norm()


def test_cuda_graphs_are_made_of_the_unets_blocks_and_begin_anew_at_every_call(world, monkeypatch):
    """Without a GPU: what is asked of PyTorch."""
    modes, begun = {}, []
    monkeypatch.setattr(nn.Module, "compile", lambda self, mode=None: modes.update({self: mode}))
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append(1))
    micro_step, collated = open_micro_step(world, compile=True, **{"execution.cuda_graphs": True})
    micro_step.compile_blocks()
    tower = {*transformer_blocks(micro_step.model.tower)}
    assert {block for block, mode in modes.items() if mode is None} == tower
    unet = micro_step.diffusion.unet
    blocks = {*unet_blocks(unet), *unet_blocks(unet, ResnetBlock2D)}
    assert {block for block, mode in modes.items() if mode == "reduce-overhead"} == blocks
    micro_step(collated, 0, 2)
    assert len(begun) == 2  # chunks of 4 rows


def unet_blocks(unet, kind=BasicTransformerBlock):
    return [module for module in unet.modules() if isinstance(module, kind)]


def compare_compiled(world, monkeypatch, backend, **changes):
    """Take one step with and without compile; return the compiled micro-step."""
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend=backend))
    steps = []
    for on in (False, True):
        micro_step, collated = open_micro_step(
            world,
            **{"tuning.lora.dropout": 0.0} | EXACT_SAVINGS | changes,
            compile=on,
        )
        if on:
            micro_step.compile_blocks()
        loss = micro_step(collated, 0, 2)[0]["loss"]
        steps.append(
            (loss, torch.cat([p.grad.flatten() for p in micro_step.model.trainable().values()]))
        )
    (expected, expected_gradient), (loss, gradient) = steps
    assert loss == pytest.approx(expected, rel=1e-5)
    assert (gradient - expected_gradient).norm() <= 1e-4 * expected_gradient.norm()
    return micro_step


@pytest.mark.parametrize("shared", [False, True])
def test_blocks_of_tower_and_unet_are_traced_whole(world, monkeypatch, shared):
    """Without a compiler behind it, which this costs minutes: the traced graphs compute what
    the blocks do. Of that of the UNet in which a row shares attention it is the feed-forward part.
    """
    graphs = []

    def run_as_traced(graph, _):
        graphs.append(graph)
        return graph.forward

    changes = {"execution.shared_prefix": shared}
    micro_step = compare_compiled(world, monkeypatch, run_as_traced, **changes)
    unet = micro_step.diffusion.unet
    first, *others = unet_blocks(unet)
    assert all(block._compiled_call_impl is not None for block in others)
    assert (first._compiled_call_impl is None) == shared
    assert (first.ff._compiled_call_impl is not None) == shared
    row_has = micro_step.predict.shared_modules()
    assert any(module in row_has for module in first.modules()) == shared
    residual = unet_blocks(unet, ResnetBlock2D)
    whole = [
        block for block in residual if not any(module in row_has for module in block.modules())
    ]
    assert [block for block in residual if block._compiled_call_impl is not None] == whole
    assert len(whole) == len(residual) - shared  # the one before the first condition
    convolutions = [str(graph.graph).count("conv2d") for graph in graphs]
    assert {2, 3} <= {*convolutions}  # with and without a shortcut
    attentions = [str(graph.graph).count("scaled_dot_product_attention") for graph in graphs]
    # A block of the tower, one of the UNet with both attentions, residual and feed-forward ones
    assert set(attentions) == {0, 1, 2}
    assert len(list(transformer_blocks(micro_step.model.tower))) == 2


@pytest.mark.parametrize("shared", [False, True])
def test_no_size_of_a_chunk_and_no_later_run_falls_back_to_uncompiled_blocks(
    world, monkeypatch, shared
):
    """PyTorch's own limit of eight graphs is passed at the second size of a chunk."""
    graphs = []

    def run_as_traced(graph, _):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(
        nn.Module, "compile", partialmethod(nn.Module.compile, backend=run_as_traced)
    )
    found = []
    for _ in range(2):
        savings = {"execution.constant_prompt": True, "execution.shared_prefix": shared}
        micro_step, collated = open_micro_step(
            world, **{"tuning.lora.dropout": 0.0} | savings, compile=True
        )
        micro_step.compile_blocks()
        counters.clear()
        graphs.clear()
        for rows in (2, 3):  # 3 of 4: the last chunk has another size
            micro_step(collated, 0, rows)
        assert counters["frames"]["ok"] == counters["frames"]["total"] == len(graphs)
        assert not counters["unimplemented"]
        found.append(len(graphs))
        micro_step(collated, 1, 3)
        assert len(graphs) == found[-1], "a size that was seen is compiled again"
        measure(micro_step, 32)
        assert len(graphs) == found[-1], "measuring compiles sizes of its own"
    assert found[0] == found[1] <= 25


@pytest.mark.slow
def test_compiled_blocks_give_the_same_within_rounding(world, monkeypatch):
    compare_compiled(world, monkeypatch, "inductor")
