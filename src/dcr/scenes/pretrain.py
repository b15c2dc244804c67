"""Train the demo's base models: CLIP in a process of its own, the others in this one.

The others are VAE, UNet and text encoder. Models this small gain little by a second core. So each
process computes in one thread, and the weights are the same on machines with any number of cores:
other rounding would train other models, on which every score of the demo rests.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection

import numpy as np
import torch
from safetensors.torch import load, save

from dcr.models.backbones import Backbone
from dcr.models.diffusion import Diffusion
from dcr.parameters import PretrainingParameters
from dcr.progress import use_lines
from dcr.scenes.pretrain_clip import build_clip, train_clip
from dcr.scenes.pretrain_data import ImageSet, load_images, split_images
from dcr.scenes.pretrain_unet import train_unet
from dcr.scenes.pretrain_vae import train_vae


def train_base_models(
    parameters: PretrainingParameters, shards: list[str]
) -> tuple[Backbone, Diffusion]:
    """Return CLIP and diffusion model, trained on all images of the shards but the held-out ones.

    Args:
        parameters: of all three models; the seed decides every weight.
        shards: paths of tars whose samples state their attributes.
    """
    images, _ = split_images(load_images(shards, parameters.image_size), parameters.num_held_out)
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arrays = (images.images.numpy(), images.captions, images.attributes)
    process = context.Process(target=_send_clip, args=(sender, parameters, *arrays), daemon=True)
    process.start()
    sender.close()
    try:
        with one_thread():
            diffusion = train_unet(images, train_vae(images, parameters), parameters)
        weights = _receive(receiver)
    finally:
        process.terminate()
        process.join()
    backbone = build_clip(parameters)
    backbone.model.load_state_dict(load(weights))
    return backbone, diffusion


@contextmanager
def one_thread() -> Iterator[None]:
    """Leave PyTorch a single thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _receive(receiver: Connection) -> bytes:
    try:
        return receiver.recv_bytes()
    except EOFError:
        raise RuntimeError(
            "the process that trained CLIP ended without a result; its own error stands above"
        ) from None


def _send_clip(
    sender: Connection,
    parameters: PretrainingParameters,
    pixels: np.ndarray,
    captions: list[str],
    attributes: list[dict[str, int]],
) -> None:
    """Train CLIP and send its weights; Ctrl-C is the parent's to answer, whose end ends this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_lines()
    images = ImageSet(torch.from_numpy(pixels), captions, attributes)
    with one_thread():
        model = train_clip(images, parameters).model
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    sender.send_bytes(save(weights))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None  # this is a child
    parent.join()
    os._exit(1)
