"""Trains the demo's base models: CLIP in a process of its own, beside VAE, UNet and text encoder in this one.

Models this small keep one core busy and gain little by a second, so they share the machine; each gives what it gives
alone but for the rounding of another number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch
from safetensors.torch import load, save

from dcr.backbones import Backbone
from dcr.diffusion import Diffusion
from dcr.parameters import PretrainingParameters
from dcr.scenes.pretrain_clip import build_clip, train_clip
from dcr.scenes.pretrain_data import ImageSet, load_images, split_images
from dcr.scenes.pretrain_unet import train_unet
from dcr.scenes.pretrain_vae import train_vae


def train_base_models(parameters: PretrainingParameters, shards: list[str]) -> tuple[Backbone, Diffusion]:
    """Return the CLIP and the diffusion model, trained on all images of the shards but the held-out ones."""
    receiver, sender = get_context("spawn").Pipe(duplex=False)
    # A daemon: it ends with this process, and where that is killed it ends as it finds nobody to send to.
    process = get_context("spawn").Process(target=_send_clip, args=(sender, parameters, shards), daemon=True)
    process.start()
    sender.close()
    with half_of_the_threads():
        images = training_images(parameters, shards)
        diffusion = train_unet(images, train_vae(images, parameters), parameters)
    try:
        weights = receiver.recv_bytes()
    except EOFError:
        raise RuntimeError("the process that trained CLIP ended without a result; its own error stands above") from None
    process.join()
    backbone = build_clip(parameters)
    backbone.model.load_state_dict(load(weights))
    return backbone, diffusion


def training_images(parameters: PretrainingParameters, shards: list[str]) -> ImageSet:
    """Return the images that all three are trained on."""
    return split_images(load_images(shards, parameters.image_size), parameters.num_held_out)[0]


@contextmanager
def half_of_the_threads() -> Iterator[None]:
    """Leave PyTorch half of the threads that it has, at least one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2))
    yield
    torch.set_num_threads(threads)


def _send_clip(sender: Connection, parameters: PretrainingParameters, shards: list[str]) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    model = train_clip(training_images(parameters, shards), parameters).model
    sender.send_bytes(save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}))
