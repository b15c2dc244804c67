"""One stage-2 step of a full-size ViT-L/14 through a full-size Stable Diffusion 2.1, random
weights, on the CPU.
"""

import hashlib
import json
import multiprocessing
import resource
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

GIB = 2**30


def test_one_step_fits_into_24_gib(tmp_path, record_property):
    process = multiprocessing.get_context("spawn").Process(target=one_step, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    record = json.loads((tmp_path / "record.json").read_text())
    print(record)
    record_property("full_size_step", record)
    assert record["parameters_changed"]
    assert record["finite_loss"]
    assert record["peak_bytes"] <= 24 * GIB


def one_step(folder: Path) -> None:
    """Encode six images, train one step of batch two, and leave what it took in ``record.json``."""
    import numpy as np
    import open_clip
    import pandas as pd
    import torch

    from dcr.data.shards import read_samples, write_shard
    from dcr.latents import LatentCache, LatentOptions, plan_latents
    from dcr.models.backbones.families.open_clip import OpenClipBackbone
    from dcr.models.projector import Projector
    from dcr.training import jobs
    from dcr.training.job import open_job
    from full_size import full_size_diffusion
    from training_world import parameters

    torch.manual_seed(0)
    backbone = OpenClipBackbone.build(open_clip.get_model_config("ViT-L-14-quickgelu"))
    diffusion = full_size_diffusion(folder / "tokenizer")
    shard = write_shard(folder / "shards", "00000", photographs(6))
    manifest = pd.DataFrame(
        {
            "shard": "00000",
            "source": "shards",
            "caption": s.caption,
            "offset": s.offset,
            "sha256": hashlib.sha256(s.image).hexdigest(),
        }
        for s in read_samples(str(shard))
    )
    options = LatentOptions(224, (0.9, 1.0), 2, "float32")
    plan = plan_latents(manifest, [str(shard)], diffusion, options, {"shards": 1.0})
    plan.write(folder / "latents")
    p = parameters(
        **{
            "stage2.max_train_steps": 1,
            "stage2.train_batch_size": 2,
            "execution.rows_per_chunk": 1,
            "held_out.num_samples": 1,
            "held_out.fraction": 0.5,
        },
    )
    job = open_job(p, LatentCache(folder / "latents"), backbone, diffusion, folder / "checkpoints")
    projector = Projector(
        backbone.embed_dim, diffusion.unet.config.cross_attention_dim
    ).state_dict()
    trained = jobs.train_adapters(job, projector)
    result, tower = trained.runs["dcr"], trained.towers["dcr"]
    changed = any(bool(tensor.any()) for name, tensor in tower.items() if ".lora_B." in name)
    record = {
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "seconds": result.seconds,
        "finite_loss": bool(np.isfinite(result.losses["loss"]).all()),
        "parameters_changed": changed,  # factor B starts at zero
    }
    (folder / "record.json").write_text(json.dumps(record))


def photographs(count):
    """Return samples with smooth random images of 256 px."""
    import io

    from dcr.data.shards import Sample
    from models import images

    samples = []
    for number, image in enumerate(images(count, (256, 256))):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG")
        samples.append(Sample(f"{number:05d}", buffer.getvalue(), "jpg", f"image {number}"))
    return samples
