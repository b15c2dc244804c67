"""Time and memory of one DCR step beside the published formulation, in one run.

    python benchmarks/step.py --json step.json

The plain step is written straight from the published description: it encodes the images with the VAE and the empty
prompt with the text encoder, augments image by image on the CPU with torchvision, and holds the whole B x B grid of
predictions in one graph. The trainer's step starts from cached crops and moments. Both run the same tower, projector
and UNet (random weights, Stable Diffusion 2.1's shape scaled down). Each is measured in a fresh process of its own, so
that neither finds a heap the other has grown; they take turns step by step, so that other load meets both alike.
Loss and gradients are compared on one fixed batch, in float32.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torchvision.transforms import v2

from dcr import Projector, dcr_loss
from dcr.backbones.open_clip import build_open_clip
from dcr.training.batches import Batch, make_batch
from dcr.training.model import ConditionModel, LoraOptions, add_lora
from dcr.training.objectives import ObjectiveOptions, dcr_objective
from dcr.training.predictor import Predictor
from dcr.training.processes import alone
from dcr.transforms import ViewAugmentation

VIEW = ViewAugmentation(0.1, 0.1, 0.1, 0.05, 0.5, 0.5, (0.9, 1.0), (1 / 1.1, 1.1))


def build_models(image_size: int):
    """Return a condition model with LoRA on its tower, and a diffusion model of SD 2.1's shape, scaled down."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from diffusion_models import scaled_down_diffusion

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        diffusion = scaled_down_diffusion(Path(folder))
    config = {
        "embed_dim": 64,
        "vision_cfg": {"image_size": image_size, "patch_size": 16, "width": 128, "layers": 4, "head_width": 32},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    backbone = build_open_clip(config)
    backbone.model.requires_grad_(False)
    add_lora(backbone, LoraOptions(16, 16, 0.0, "lora_only"))
    projector = Projector(64, diffusion.unet.config.cross_attention_dim).requires_grad_(False)
    return ConditionModel(backbone, projector), diffusion


class Step:
    """One of the two steps on its own models. ``batch`` is the fixed one; ``run`` is what is timed."""

    def __init__(self, batch_size: int, image_size: int) -> None:
        self.model, self.diffusion = build_models(image_size)
        generator = torch.Generator().manual_seed(1)
        crops = torch.randint(256, (batch_size, image_size, image_size, 3), generator=generator, dtype=torch.uint8)
        self.pixels = crops.permute(0, 3, 1, 2) / 255
        moments = torch.cat(self.diffusion.encode_moments(self.pixels), dim=1)
        self.collated = {"keys": [str(i) for i in range(batch_size)], "crops": crops, "moments": moments}
        self.batch = make_batch(self.collated, self.diffusion, VIEW, 0, 0)

    def take_gradients(self) -> torch.Tensor:
        """Take the gradients off the model as one vector."""
        flat = torch.cat([p.grad.flatten() for p in self.model.trainable().values()])
        self.model.zero_grad(set_to_none=True)
        return flat


class PlainStep(Step):
    """The published formulation."""

    def __init__(self, batch_size: int, image_size: int, rows_per_chunk: int) -> None:
        super().__init__(batch_size, image_size)
        crop = v2.RandomResizedCrop(image_size, scale=(0.9, 1.0), ratio=(1 / 1.1, 1.1), antialias=True)
        jitter = v2.ColorJitter(0.1, 0.1, 0.1, 0.05)
        self.augment = v2.Compose([jitter, v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), crop])

    def run(self) -> None:
        diffusion = self.diffusion
        mean, log_variance = diffusion.encode_moments(self.pixels)
        latents = diffusion.scale_latents(mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean))
        noise = torch.randn_like(latents)
        timesteps = torch.randint(diffusion.num_timesteps, (len(latents),))
        views = torch.stack([self.augment(image) for image in self.pixels])
        noisy, targets = (f(latents, noise, timesteps) for f in (diffusion.add_noise, diffusion.target))
        self.loss(Batch([], self.pixels, views, noisy, targets, timesteps))

    def loss(self, batch: Batch) -> float:
        size = len(batch.pixels)
        empty = self.diffusion.encode_prompts([""])
        conditions, view_conditions = (empty + self.model(p)[1][:, None] for p in (batch.pixels, batch.view_pixels))
        noisy, steps = (t.repeat_interleave(size, 0) for t in (batch.noisy_latents, batch.timesteps))
        grid = self.diffusion.predict(noisy, steps, conditions.repeat(size, 1, 1)).unflatten(0, (size, size))
        views = self.diffusion.predict(batch.noisy_latents, batch.timesteps, view_conditions)
        loss = dcr_loss(grid, views, batch.targets, 0.1)
        loss.backward()
        return loss.item()


class TrainerStep(Step):
    """The trainer's own: cached moments, row by row, with its exact savings."""

    def __init__(self, batch_size: int, image_size: int, rows_per_chunk: int) -> None:
        super().__init__(batch_size, image_size)
        self.predict = Predictor(self.diffusion, constant_prompt=True, shared_prefix=True)
        self.options = ObjectiveOptions(0.1, rows_per_chunk, False, 0.0, 0.0)
        self.count = 0

    def run(self) -> None:
        self.count += 1
        self.loss(make_batch(self.collated, self.diffusion, VIEW, 0, self.count))

    def loss(self, batch: Batch) -> float:
        backward = torch.Tensor.backward
        return dcr_objective(self.model, self.predict, batch, self.options, backward, alone())["loss"]


def serve(kind: type[Step], sizes: tuple[int, int, int], connection) -> None:
    """Build a step in this process, report memory, loss and gradients, then take a timed step at every request."""
    step = kind(*sizes)
    peak = peak_memory(step.run)
    step.take_gradients()
    connection.send((peak, step.loss(step.batch), step.take_gradients().numpy()))
    while connection.recv():
        started = time.perf_counter()
        step.run()
        connection.send(time.perf_counter() - started)
        step.take_gradients()


def peak_memory(run) -> int:
    """Return the peak of resident memory in bytes while ``run`` runs, above what was there before (Linux)."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # give back what building the models has freed
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
    before = status_bytes("VmRSS")
    run()
    return status_bytes("VmHWM") - before


def status_bytes(name: str) -> int:
    """Return a line of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) * 1024


def measure(sizes: tuple[int, int, int], repeats: int) -> dict[str, float]:
    """Run both steps in turns and return times, peaks and how far apart their results are."""
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    for kind in (PlainStep, TrainerStep):
        end, other = context.Pipe()
        process = context.Process(target=serve, args=(kind, sizes, other), daemon=True)
        process.start()
        ends.append(end)
        processes.append(process)
    return finish(ends, processes, repeats)


def finish(ends, processes, repeats: int) -> dict[str, float]:
    """Collect what the two processes report."""
    (plain_peak, plain_loss, plain_gradient), (peak, loss, gradient) = (end.recv() for end in ends)
    times: list[list[float]] = [[], []]
    for _ in range(repeats):
        for own, end in zip(times, ends, strict=True):
            end.send(True)
            own.append(end.recv())
    for end, process in zip(ends, processes, strict=True):
        end.send(False)
        process.join()
    plain_seconds, seconds = (statistics.median(own) for own in times)
    difference = torch.from_numpy(gradient - plain_gradient).norm() / torch.from_numpy(plain_gradient).norm()
    return {
        "time_ratio": seconds / plain_seconds,
        "memory_ratio": peak / plain_peak,
        "loss_rel_diff": abs(loss - plain_loss) / abs(plain_loss),
        "grad_rel_diff": difference.item(),
        "plain_seconds": plain_seconds,
        "seconds": seconds,
        "plain_mebibytes": plain_peak / 2**20,
        "mebibytes": peak / 2**20,
    }


def device_name() -> str:
    """Return the CPU's model and the number of cores."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"


def main() -> None:
    """Run both steps and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--rows-per-chunk", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    sizes = (options.batch_size, options.image_size, options.rows_per_chunk)
    result = measure(sizes, options.repeats) | {
        "device": device_name(),
        "batch_size": options.batch_size,
        "image_size": options.image_size,
        "rows_per_chunk": options.rows_per_chunk,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
