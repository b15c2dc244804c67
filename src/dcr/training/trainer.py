"""The training loop, shared by both stages and all methods."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from accelerate import Accelerator
from tqdm import tqdm

from dcr.diffusion import Diffusion
from dcr.errors import UserError
from dcr.latents import LatentCache
from dcr.projector import condition
from dcr.seeds import derive_seed
from dcr.training.data import build_loader, make_batch
from dcr.training.model import ConditionModel
from dcr.training.objectives import OBJECTIVES, ObjectiveOptions
from dcr.transforms import ViewAugmentation

WEIGHT_DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class RunOptions:
    """Numbers of one run; see conf/base/parameters_training.yml for their meaning and units."""

    name: str
    objective: str
    seed: int
    max_train_steps: int
    train_batch_size: int
    gradient_accumulation_steps: int
    learning_rate: float
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    adam_weight_decay: float
    max_grad_norm: float
    mixed_precision: str
    num_workers: int
    validate_every_steps: int


@dataclass
class RunResult:
    """What a run leaves beside the weights: one row per logged step, and its cost."""

    losses: pd.DataFrame
    steps: int
    seconds: float
    samples_per_second: float
    trainable_parameters: int


def train(
    model: ConditionModel,
    diffusion: Diffusion,
    latents: LatentCache,
    positions: list[int],
    augmentation: ViewAugmentation,
    run: RunOptions,
    options: ObjectiveOptions,
    validate: Callable[[], float],
) -> RunResult:
    """Train whatever in ``model`` requires a gradient, for ``run.max_train_steps`` optimizer steps.

    Args:
        model: image tower and projector; frozen parts carry no optimizer state.
        diffusion: frozen; its UNet runs in the run's precision, losses in float32.
        positions: of the samples in ``latents`` to train on.
        augmentation: makes the positive views.
        validate: returns the noise error on a fixed held-out set, called every ``validate_every_steps``.

    Raises:
        UserError: nothing to train on, or the loss is not finite.
    """
    if len(positions) < run.train_batch_size:
        raise UserError(
            f"{run.name}: {len(positions)} samples to train on are fewer than train_batch_size {run.train_batch_size}; "
            "lower it or bring more data"
        )
    accelerator = Accelerator(mixed_precision=run.mixed_precision)
    trainable = model.trainable()
    diffusion.unet.to(WEIGHT_DTYPES[run.mixed_precision])
    model, optimizer = accelerator.prepare(model, _build_optimizer(trainable, run))
    predict = build_predict(diffusion)
    steps = range(run.max_train_steps * run.gradient_accumulation_steps)
    loader = build_loader(latents, positions, run.train_batch_size, run.seed, steps, run.num_workers)
    scale = 1 / run.gradient_accumulation_steps

    def backward(loss: torch.Tensor) -> None:
        accelerator.backward(loss * scale)

    model.train()
    rows, started = [], time.perf_counter()
    with tqdm(total=run.max_train_steps, desc=run.name, unit="step") as bar:
        for step, collated in zip(steps, loader, strict=True):
            torch.manual_seed(derive_seed(run.seed, "dropout", step))  # LoRA's dropout draws from the global stream
            batch = make_batch(collated, diffusion, augmentation, run.seed, step)
            parts = OBJECTIVES[run.objective](model, predict, batch, options, backward)
            if not math.isfinite(parts["loss"]):
                raise UserError(f"{run.name}: loss is {parts['loss']} at step {step}, samples {', '.join(batch.keys)}")
            if (step + 1) % run.gradient_accumulation_steps:
                continue
            norm = accelerator.clip_grad_norm_(trainable.values(), run.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            done = (step + 1) // run.gradient_accumulation_steps
            rows.append({"step": done, **parts, "learning_rate": run.learning_rate, "grad_norm": float(norm)})
            if done % run.validate_every_steps == 0 or done == run.max_train_steps:
                rows[-1]["validation_loss"] = validate()
            bar.update()
            rate = (step + 1) * run.train_batch_size / (time.perf_counter() - started)
            bar.set_postfix(loss=f"{parts['loss']:.4f}", samples_s=f"{rate:.1f}")
    model.eval()
    seconds = time.perf_counter() - started
    return RunResult(
        losses=pd.DataFrame(rows),
        steps=run.max_train_steps,
        seconds=seconds,
        samples_per_second=len(steps) * run.train_batch_size / seconds,
        trainable_parameters=sum(p.numel() for p in trainable.values()),
    )


def build_predict(diffusion: Diffusion) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the UNet as a function of (noisy latents, timesteps, projections); the empty prompt is encoded once."""
    empty_prompt = diffusion.encode_prompts([""])
    return lambda noisy, timesteps, projections: diffusion.predict(
        noisy, timesteps, condition(empty_prompt, projections)
    )


def _build_optimizer(trainable: dict[str, torch.nn.Parameter], run: RunOptions) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        trainable.values(),
        lr=run.learning_rate,
        betas=(run.adam_beta1, run.adam_beta2),
        eps=run.adam_epsilon,
        weight_decay=run.adam_weight_decay,
    )
