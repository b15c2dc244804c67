"""Trains the demo's base models: CLIP in a process of its own, beside VAE, UNet and text encoder in this one.

Models this small gain little by a second core. So each process computes in one thread, and the weights are the same on
machines with any number of cores: other rounding would train other models, on which every score of the demo rests.
"""

from __future__ import annotations

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
    """Return the CLIP and the diffusion model, trained on all images of the shards but the held-out ones.

    Args:
        parameters: of all three models; the seed decides every weight.
        shards: paths of tars whose samples state their attributes.
    """
    receiver, sender = get_context("spawn").Pipe(duplex=False)
    # A daemon: it ends with this process, and where that is killed it ends as it finds nobody to send to.
    process = get_context("spawn").Process(target=_send_clip, args=(sender, parameters, shards), daemon=True)
    process.start()
    sender.close()
    with one_thread():
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
    """Return the images of ``shards`` that all three are trained on, of the size that ``parameters`` tell."""
    return split_images(load_images(shards, parameters.image_size), parameters.num_held_out)[0]


@contextmanager
def one_thread() -> Iterator[None]:
    """Leave PyTorch a single thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _send_clip(sender: Connection, parameters: PretrainingParameters, shards: list[str]) -> None:
    with one_thread():
        model = train_clip(training_images(parameters, shards), parameters).model
    sender.send_bytes(save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}))
