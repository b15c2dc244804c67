"""Half precision: UNet and tower in it, noise, similarities and loss in float32, fp16's
gradients scaled.
"""

import gc

import pytest
import torch
from peft.tuners.lora import LoraLayer

from dcr.latents import open_latents
from dcr.models.backbones import load_backbone
from dcr.models.projector import Projector
from dcr.training import jobs, work
from dcr.training import step as step_module
from dcr.training.batches import make_batch
from dcr.training.cost import measure
from dcr.training.model import ConditionModel, prepare_tower
from dcr.training.objectives import OBJECTIVES
from dcr.training.precision import WEIGHT_DTYPES, Precision, cast_frozen
from dcr.training.runs import method_runs
from dcr.training.unet.upsampling import fold_upsampling
from dcr.training.validation import HeldOutNoise
from models import pixels, tiny_hf_clip, tiny_open_clip, tiny_siglip
from training_cuts import assert_same
from training_world import (
    fixed_projector,
    load_world,
    open_job,
    open_micro_step,
    parameters,
    write_world,
)

SAVINGS = {
    "execution.constant_prompt": True,
    "execution.shared_prefix": True,
    "execution.folded_upsampling": True,
    "tuning.lora.dropout": 0.0,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def take_step(world, precision, **changes):
    """Return the loss and, unscaled, the gradient of one micro-step, and the micro-step."""
    micro_step, collated = open_micro_step(world, mixed_precision=precision, **SAVINGS | changes)
    loss = micro_step(collated, 0, 2)[0]["loss"]
    gradient = torch.cat([p.grad.flatten() for p in micro_step.model.trainable().values()])
    return loss, gradient / micro_step.precision.scaler.get_scale(), micro_step


@pytest.mark.parametrize(("precision", "digits"), [("bf16", 2**-8), ("fp16", 2**-11)])
def test_a_step_in_half_precision_is_that_in_float32_but_for_its_rounding(world, precision, digits):
    expected, expected_gradient, _ = take_step(world, "no")
    loss, gradient, micro_step = take_step(world, precision)
    assert micro_step.diffusion.unet.dtype == WEIGHT_DTYPES[precision]
    assert all(p.dtype == torch.float32 for p in micro_step.model.parameters())
    assert loss == pytest.approx(expected, rel=4 * digits)
    assert (gradient - expected_gradient).norm() < 16 * digits * expected_gradient.norm()
    assert loss != expected


def test_the_kernels_of_folded_upsampling_are_summed_before_they_are_rounded(world):
    _, diffusion, _ = load_world(world)
    fold_upsampling(diffusion.unet)
    expected = {name: kernel.bfloat16() for name, kernel in diffusion.unet.named_buffers()}
    micro_step, _ = open_micro_step(world, mixed_precision="bf16", **SAVINGS)
    found = dict(micro_step.diffusion.unet.named_buffers())
    assert found.keys() == expected.keys() != set()
    assert all(torch.equal(found[name], kernel) for name, kernel in expected.items())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_noise_target_and_loss_are_float32_under_bf16(world, objective):
    micro_step, collated = open_micro_step(world, mixed_precision="bf16", **SAVINGS)
    batch = make_batch(collated, micro_step.diffusion, micro_step.augmentation, 0, 0)
    assert {batch.noisy_latents.dtype, batch.targets.dtype} == {torch.float32}
    predictions, losses = [], []

    def predict(*args):
        predictions.append(micro_step.predict(*args))
        return predictions[-1]

    class Recorded(Precision):
        def backward(self, loss):
            losses.append(loss)
            super().backward(loss)

    precision = Recorded("bf16", torch.device("cpu"))
    loss = micro_step.run.loss
    parts = micro_step.contrast, micro_step.model, predict, precision, micro_step.processes
    OBJECTIVES[objective](loss, *parts).step(batch, 2)
    assert {p.dtype for p in predictions} == {torch.bfloat16}
    assert {loss.dtype for loss in losses} == {torch.float32}


@pytest.mark.parametrize("precision", WEIGHT_DTYPES)
def test_loras_inputs_stay_in_half_precision_to_the_same_bits(world, precision):
    """PEFT's own casting to float32 is the reference: it costs memory, and changes no gradient."""
    gradients, costs = [], []
    for cast in (False, True):
        micro_step, collated = open_micro_step(world, mixed_precision=precision, **SAVINGS)
        for module in micro_step.model.tower.modules():
            if isinstance(module, LoraLayer):
                assert not module.cast_input_dtype_enabled
                module.cast_input_dtype_enabled = cast
        costs.append(measure(micro_step, 32).image_bytes)
        micro_step(collated, 0, 2)
        gradients.append([p.grad for p in micro_step.model.trainable().values()])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
    assert costs[0] == costs[1] if precision == "no" else costs[0] < costs[1]


class TestFrozenWeightsAreCastOnce:
    """Autocast's own casting in every pass is the reference."""

    @pytest.mark.parametrize("precision", WEIGHT_DTYPES)
    @pytest.mark.parametrize("dropout", [0.0, 0.1])
    @pytest.mark.parametrize("bias", ["none", "lora_only"])
    def test_gradients_of_lora_are_the_same_bits(self, world, precision, dropout, bias):
        tuning = {"tuning.lora.dropout": dropout, "tuning.lora.bias": bias}
        found, costs = [], []
        for cast in (False, True):
            changes = SAVINGS | tuning | {"mixed_precision": precision}
            micro_step, collated = open_micro_step(world, **changes)
            if cast:
                cast_frozen(micro_step.model, precision)
            costs.append(measure(micro_step, 32))
            loss = micro_step(collated, 0, 2)[0]["loss"]
            found.append((loss, [p.grad for p in micro_step.model.trainable().values()]))
        (expected, expected_gradients), (loss, gradients) = found
        assert loss == expected
        assert all(map(torch.equal, gradients, expected_gradients))
        before, after = costs
        assert after.image_flops == before.image_flops
        assert precision == "no" or after.copy_bytes < before.copy_bytes / 2

    @pytest.mark.parametrize("write", [tiny_open_clip, tiny_hf_clip, tiny_siglip])
    @pytest.mark.parametrize("mode", ["lora", "last_blocks"])
    def test_so_are_those_of_every_family(self, tmp_path, write, mode):
        prefix = "local-dir:" if write is tiny_open_clip else ""
        source = f"{prefix}{write(tmp_path / 'model')}"
        found = []
        for cast in (False, True):
            backbone = load_backbone(source)
            torch.manual_seed(0)
            model = ConditionModel(backbone, Projector(backbone.embed_dim, 4))
            model.requires_grad_(False)
            prepare_tower(backbone, parameters(**{"tuning.mode": mode}).tuning)
            trained = model.trainable()
            if cast:
                cast_frozen(model, "bf16")
                weights = [p for p in model.parameters() if not p.requires_grad and p.ndim > 1]
                assert sum(p.dtype == torch.bfloat16 for p in weights) > len(weights) / 2
            assert {p.dtype for p in trained.values()} == {torch.float32}
            for is_training in (False, True):
                torch.manual_seed(1)
                with torch.autocast("cpu", torch.bfloat16):
                    features, projections = model.train(is_training)(pixels())
                found += [features, projections]
            found += torch.autograd.grad(projections.float().sum(), list(trained.values()))
        half = len(found) // 2
        for expected, tensor in zip(found[:half], found[half:], strict=True):
            assert torch.equal(tensor, expected)

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"loss.base_embedding_weight": 0.5, "positives.source": "clip_neighbour"},
            {"tuning.mode": "last_blocks", "tuning.num_blocks": 1, "method": "end_to_end"},
            {"condition": "patch_tokens", "monitoring.images_every_steps": 1},
        ],
        ids=str,
    )
    def test_both_stages_train_to_the_same_bits(self, world, tmp_path, monkeypatch, changes):
        small = {
            "stage1.max_train_steps": 2,
            "stage2.max_train_steps": 2,
            "mixed_precision": "bf16",
        }
        drawn = {"monitoring.num_images": 2, "monitoring.num_denoising_steps": 2}
        found = []
        for name in ("cast once", "cast in every pass"):
            if found:
                monkeypatch.setattr(work, "cast_frozen", lambda *_: None)
            sizes = {"end_to_end_max_train_steps": 2}
            numbers = {"mixed_precision": "bf16"} | small | drawn | sizes | changes
            job = open_job(world, tmp_path / name, **numbers)
            projector, errors, _ = jobs.train_projector(job)
            (tower,) = jobs.train_adapters(job, projector).towers.values()
            assert {p.dtype for p in job.backbone.model.parameters()} == {torch.float32}
            found.append((projector | tower, errors))
        (weights, errors), (expected, expected_errors) = found
        assert errors == expected_errors
        assert_same(weights, expected)


@pytest.mark.parametrize("precision", WEIGHT_DTYPES)
def test_held_out_images_are_encoded_in_the_runs_precision(world, tmp_path, precision):
    micro_step, _ = open_micro_step(world, mixed_precision=precision, **SAVINGS)
    held_out = HeldOutNoise(
        open_latents(world / "latents"),
        range(4),
        micro_step.diffusion,
        micro_step.augmentation,
        0,
        4,
        2,
    )
    seen = set()
    for module in micro_step.model.tower.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda *args: seen.add(args[-1].dtype))
    error = held_out.model(micro_step.model)
    assert seen == {WEIGHT_DTYPES[precision]}
    micro_step.diffusion.unet.float()
    assert error == pytest.approx(held_out.model(micro_step.model), rel=0.02)


def test_of_held_out_images_bytes_are_kept_and_nothing_else(world):
    micro_step, _ = open_micro_step(world)
    arguments = (
        open_latents(world / "latents"),
        range(4),
        micro_step.diffusion,
        micro_step.augmentation,
        0,
        4,
        2,
    )
    gc.collect()
    before = {id(t) for t in gc.get_objects() if isinstance(t, torch.Tensor)}
    held_out = HeldOutNoise(*arguments)
    gc.collect()
    new = [t for t in gc.get_objects() if isinstance(t, torch.Tensor) and id(t) not in before]
    of_images = [(t.dtype, tuple(t.shape)) for t in new if 32 in t.shape and t.ndim == 4]
    assert of_images == [(torch.uint8, (2, 32, 32, 3))] * 2
    assert held_out.model(micro_step.model) > 0


def test_an_overflow_in_fp16_skips_the_step_and_halves_the_scale(world, tmp_path, monkeypatch):
    make_batch = step_module.make_batch

    def overflow_once(collated, *args):
        batch = make_batch(collated, *args)
        if args[3] == 1:  # the second step
            batch.noisy_latents = batch.noisy_latents * 1e6
        return batch

    monkeypatch.setattr(step_module, "make_batch", overflow_once)
    job, projector = (
        open_job(world, tmp_path, mixed_precision="fp16", **{"stage2.max_train_steps": 3}),
        fixed_projector(world),
    )
    trained = jobs.train_adapters(job, projector)
    assert trained.runs["dcr"].skipped_steps == 1
    assert list(trained.runs["dcr"].losses["loss"].isna()) == [False, True, False]
    assert all(tensor.isfinite().all() for tensor in trained.towers["dcr"].values())
    checkpoints = job.checkpoints(method_runs(job.parameters, "dcr")[0], projector)
    _, progress = checkpoints.load(tmp_path / "dcr" / "checkpoint-3")
    assert progress.scaler["scale"] == 2.0**15
