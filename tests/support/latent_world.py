"""Input shards, their manifest and a latent cache, for the tests of latents."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

import models
from dcr.data.shards import Sample, read_samples, write_shard
from dcr.latents import LatentCache, LatentOptions, LatentPlan, pick_rank, plan_latents
from dcr.models.diffusion import Diffusion
from diffusion_models import tiny_diffusion

OPTIONS = LatentOptions(image_size=32, scale=(0.9, 1.0), batch_size=3, dtype="float32")
WEIGHTS = {"shards": 1.0}


@dataclass
class World:
    """Some shards of PNG images in a folder, and the model that encodes them."""

    folder: Path
    diffusion: Diffusion
    images: dict[str, list[bytes]]

    @classmethod
    def make(cls, folder: Path, num_shards: int = 2, images_per_shard: int = 5) -> World:
        """Write the shards; images differ from each other."""
        encoded = [_encode(image) for image in models.images(num_shards * images_per_shard)]
        parts = {
            f"{number:05d}": encoded[number * images_per_shard : (number + 1) * images_per_shard]
            for number in range(num_shards)
        }
        world = cls(folder, tiny_diffusion(folder / "tokenizer"), {})
        for name, images in parts.items():
            world.write(name, images)
        return world

    @classmethod
    def open(cls, folder: Path) -> World:
        """Return the world that was made in a folder; its model has the same weights."""
        shards = sorted((folder / "shards").glob("*.tar"))
        images = {
            shard.stem: [sample.image for sample in read_samples(str(shard))] for shard in shards
        }
        return cls(folder, tiny_diffusion(folder / f"tokenizer-{os.getpid()}"), images)

    def write(self, name: str, images: list[bytes]) -> None:
        """Write or replace one input shard."""
        self.images[name] = images
        samples = [
            Sample(f"{name}{i:04d}", image, "png", f"caption {i} of {name}")
            for i, image in enumerate(images)
        ]
        write_shard(self.folder / "shards", name, samples)

    @property
    def shards(self) -> list[str]:
        """Paths of the input shards."""
        return [str(self.folder / "shards" / f"{name}.tar") for name in sorted(self.images)]

    def manifest(self) -> pd.DataFrame:
        """Return what validation would say of the shards as they are now."""
        return manifest_of(self.shards)

    def plan(self, options: LatentOptions = OPTIONS, **changes) -> LatentPlan:
        """Plan the latents of the shards as they are now."""
        return plan_latents(
            self.manifest(), self.shards, self.diffusion, options, WEIGHTS, **changes
        )

    def cache(self, name: str = "latents", options: LatentOptions = OPTIONS) -> LatentCache:
        """Bring the cache of that name up to date and open it."""
        self.plan(options).write(self.folder / name)
        return LatentCache(self.folder / name)


def manifest_of(shards: list[str]) -> pd.DataFrame:
    """Return the manifest that accepts every sample."""
    return pd.DataFrame(
        [
            {
                "shard": Path(shard).stem,
                "source": "shards",
                "key": sample.key,
                "offset": sample.offset,
                "caption": sample.caption,
                "sha256": hashlib.sha256(sample.image).hexdigest(),
            }
            for shard in shards
            for sample in read_samples(shard)
        ]
    )


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return inode and content of every file of a cache: a file that was not touched keeps both."""
    return {
        path.name: (path.stat().st_ino, path.read_bytes())
        for path in folder.iterdir()
        if path.is_file()
    }


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of a cache."""
    return {name: content for name, (_, content) in files(folder).items()}


def _encode(image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def another_image() -> bytes:
    """Return an image that no world holds."""
    return _encode(models.images(200)[-1])


def write_cache(folder: Path, name: str, rank: int = 0, num_ranks: int = 1) -> None:
    """Bring a cache up to date, all of it or a rank's share."""
    World.open(folder).plan(rank=rank, num_ranks=num_ranks).write(folder / name)


def write_as_torchrun_starts_it(folder: Path, name: str, rank: int, num_ranks: int) -> None:
    """Bring a rank's share of a cache up to date; rank and size come from the environment."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(num_ranks))
    write_cache(folder, name, *pick_rank(0, 1))


def write_with_small_files(folder: Path, name: str, max_bytes: int) -> None:
    """Bring a cache up to date on a system where no file may be larger."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
    write_cache(folder, name)


class Child:
    """A process that runs a function of this module; its server has imported this module and
    computed nothing.
    """

    def __init__(self, function: Callable[..., None], *arguments: object) -> None:
        # All that the server knows when it imports this module.
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_report, args=(sender, function, arguments))
        self._process.start()
        sender.close()

    def ready(self) -> None:
        """Return when the function is about to be called."""
        assert self._receiver.recv() == "ready"

    def result(self, kill_after: float | None = None) -> str | None:
        """Return the function's error, "" for none, or None if it was still running and got
        SIGKILL.
        """
        self._process.join(60 if kill_after is None else kill_after)
        self._process.kill()
        self._process.join()
        try:
            return self._receiver.recv()
        except EOFError:
            return None


def _report(sender, function: Callable[..., None], arguments: tuple) -> None:
    torch.set_num_threads(1)
    sender.send("ready")
    try:
        function(*arguments)
        sender.send("")
    except Exception as exc:
        sender.send(str(exc))
