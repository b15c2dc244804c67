"""A world small enough to train on in a second: models and latents on disk, and jobs on them."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import signal
from pathlib import Path

import pandas as pd
import torch
import yaml
from safetensors.torch import load_file, save_file

import models
from dcr.data.shards import Sample, read_samples, write_shard
from dcr.latents import LatentOptions, open_latents, plan_latents
from dcr.models.backbones import load_backbone
from dcr.models.diffusion import Diffusion, load_diffusion
from dcr.models.projector import Projector
from dcr.parameters import TrainingParameters
from dcr.parameters.section import merge
from dcr.parameters.training.parts import Lora
from dcr.training import checkpoints, jobs, runs, trainer
from dcr.training import job as job_module
from dcr.training import step as step_module
from dcr.training.contrast import build_contrast
from dcr.training.data import collate
from dcr.training.distributed import processes
from dcr.training.model import ConditionModel, frozen_copy, prepare_tower
from dcr.training.monitoring import monitor
from dcr.training.precision import make_ready
from dcr.training.update import Update
from dcr.training.views import view_augmentation
from diffusion_models import tiny_diffusion
from nested import nested

CONF = Path(__file__).parents[2] / "conf" / "base" / "parameters_training.yml"
NUM_IMAGES = 24
_ON_THE_UNET = ("constant_prompt", "shared_prefix", "folded_upsampling")
EXACT_SAVINGS = {f"execution.{name}": True for name in _ON_THE_UNET}


def write_world(folder: Path, num_shards: int = 1, **latents) -> Path:
    """Write a backbone, a diffusion model and a latent cache of 24 images, in shards of the same
    size; ``latents`` are options of theirs."""
    models.tiny_open_clip(folder / "clip")
    diffusion = tiny_diffusion(folder / "tokenizer")
    diffusion.save(folder / "diffusion")
    samples = []
    for number, image in enumerate(models.images(NUM_IMAGES)):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG")
        samples.append(Sample(f"{number:05d}", buffer.getvalue(), "jpg", f"image {number}"))
    size = NUM_IMAGES // num_shards
    for number in range(num_shards):
        own = samples[number * size : (number + 1) * size]
        write_shard(folder / "shards", f"{number:05d}", own)
    write_latents(folder, diffusion, **latents)
    return folder


def write_latents(folder: Path, diffusion: Diffusion, shard: str | None = None, **changes) -> None:
    """Write or replace the latents of a world's images, from its shards or a remote copy of its
    only one."""
    shards = [shard] if shard else sorted(map(str, (folder / "shards").glob("*.tar")))
    manifest = pd.DataFrame(
        [
            {
                "shard": Path(path).stem,
                "source": "shards",
                "offset": s.offset,
                "key": s.key,
                "caption": s.caption,
                "sha256": hashlib.sha256(s.image).hexdigest(),
            }
            for path in shards
            for s in read_samples(path)
        ]
    )
    options = LatentOptions(
        **{"image_size": 32, "scale": (0.9, 1.0), "batch_size": 8, "dtype": "float32"} | changes
    )
    plan_latents(manifest, shards, diffusion, options, {"shards": 1.0}).write(folder / "latents")


def load_world(folder: Path):
    """Return backbone, diffusion model and latents of a written world."""
    backbone = load_backbone(f"local-dir:{folder / 'clip'}")
    return backbone, load_diffusion(str(folder / "diffusion")), open_latents(folder / "latents")


def parameters(**changes) -> TrainingParameters:
    """Return the demo's parameters, made small; ``changes`` by dotted name."""
    small = {
        "held_out.fraction": 0.3,
        "held_out.num_samples": 8,
        "baselines": [],
        "monitoring.report_to": [],
        "checkpoints.every_steps": 2,
        "stage1.max_train_steps": 6,
        "stage1.train_batch_size": 4,
        "stage2.max_train_steps": 6,
        "stage2.train_batch_size": 4,
        "execution.rows_per_chunk": 2,
    }
    values = yaml.safe_load(CONF.read_text())["training"]
    return TrainingParameters(**merge(values, nested(small | changes)))


def lora(**changes) -> Lora:
    """Return the demo's LoRA, with ``changes``."""
    return parameters().tuning.lora.model_copy(update=changes)


def run_of(p: TrainingParameters, name: str) -> runs.Run:
    """Return stage 1, or a method's only run, whether the recipe trains it or not."""
    (run,) = [runs.stage1_run(p)] if name == runs.STAGE1 else runs.method_runs(p, name)
    return run


def open_job(world: Path, folder: Path, **changes) -> job_module.Job:
    """Return a training job on a world, with its checkpoints in ``folder``."""
    backbone, diffusion, latents = load_world(world)
    return job_module.open_job(parameters(**changes), latents, backbone, diffusion, folder)


def open_micro_step(
    world: Path, name: str = "dcr", device: str | torch.device = "cpu", **changes
) -> tuple[step_module.MicroStep, dict]:
    """Return a micro-step of stage 2 by a method as the trainer has it, LoRA's both factors random,
    and a collated batch."""
    p = parameters(**changes)
    run = run_of(p, name)
    backbone, diffusion, latents = load_world(world)
    projector = Projector(backbone.embed_dim, diffusion.unet.config.cross_attention_dim)
    projector.load_state_dict(fixed_projector(world))
    model = ConditionModel(backbone, projector).requires_grad_(False).train()
    prepare_tower(backbone, p.tuning)
    torch.manual_seed(6)
    for parameter in model.trainable().values():
        torch.nn.init.normal_(parameter, std=0.1)
    contrast = build_contrast(run)
    base = frozen_copy(backbone).to(device) if contrast.asks_base(run.loss) else None
    make_ready(diffusion, torch.device(device), p.mixed_precision, p.execution)
    micro_step = step_module.MicroStep(
        model.to(device),
        diffusion,
        view_augmentation(p, backbone.preprocessing),
        run,
        contrast,
        processes.Processes(0, 1, torch.device(device)),
        base,
    )
    return micro_step, collate([latents[i] for i in range(p.stage2.train_batch_size)])


def fixed_projector(world: Path) -> dict[str, torch.Tensor]:
    """Return the same random projector every time."""
    torch.manual_seed(5)
    backbone, diffusion, _ = load_world(world)
    return Projector(backbone.embed_dim, diffusion.unet.config.cross_attention_dim).state_dict()


def train_both_stages(
    world: Path, folder: Path, output: Path | None = None, cut=None, join=None, **changes
) -> None:
    """Train both stages in this process and write their weights to ``output``.

    cut: (run's name, step, place) where this process kills itself, see `cut_at`. join: (rank,
    count, file) of the processes to train with.
    """
    torch.set_num_threads(1)
    job = open_job(world, folder, **changes)
    if join:
        rank, count, file = join
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{file}", rank=rank, world_size=count
        )
        job.processes = processes.Processes(rank, count, torch.device("cpu"))
    if cut:
        cut_at(*cut)
    projector, _, _ = jobs.train_projector(job)
    adapter = jobs.train_adapters(job, projector).towers["dcr"]
    if output and job.processes.is_first:
        save_file(
            projector | {f"adapter.{name}": tensor for name, tensor in adapter.items()}, output
        )
    if join:
        torch.distributed.destroy_process_group()


def cut_at(name: str, step: int, place: str, how: int = signal.SIGKILL) -> None:
    """Let this process send itself a signal in a step of a run: after the ``batch`` is made, after
    the weights' ``update``, at the ``end`` of the step, or while its checkpoint is half written
    (``write``)."""

    def strike():
        os.kill(os.getpid(), how)

    def wrap(owner, attribute, is_time):
        original = getattr(owner, attribute)

        def replacement(*args, **kwargs):
            result = original(*args, **kwargs)
            if is_time(*args):
                strike()
            return result

        setattr(owner, attribute, replacement)

    here = {"name": None, "step": 0}
    take_step = trainer.Trainer.optimizer_step

    def note(self, number, *rest):
        here.update(name=self.run.name, step=number)
        return take_step(self, number, *rest)

    trainer.Trainer.optimizer_step = note

    def now(*_):
        return (here["name"], here["step"]) == (name, step)

    if place == "write":
        wrap(checkpoints, "save_file", now)
    else:
        owner, attribute = {
            "batch": (step_module, "make_batch"),
            "update": (Update, "__call__"),
            "end": (monitor.Monitor, "show"),
        }[place]
        wrap(owner, attribute, now)


def fork_server():
    """Return a context whose processes start quickly and inherit none of pytest's threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["dcr.training.jobs", "dcr.latents", "peft.tuners.lora", "open_clip", "timm"]
    )
    return context


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the weights that `train_both_stages` wrote."""
    return load_file(path)
