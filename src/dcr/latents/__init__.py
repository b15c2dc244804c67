"""The latent cache: each accepted sample's crops and their VAE moments, a tar an input shard.

A shard's key is made of everything that its bytes depend on, so that only what changed is computed
again; see `dcr.latents.keys`. The format is in `dcr.latents.format`.
"""

from dcr.latents.cache import LatentCache
from dcr.latents.cropping import CropBatch, load_crops
from dcr.latents.encoding import MomentsEncoder, encode_collated
from dcr.latents.online import OnlineLatents, open_latents
from dcr.latents.options import LatentOptions
from dcr.latents.plan import LatentPlan, pick_rank, plan_latents
from dcr.latents.verifying import Verification, describe_failures, verify_latents

__all__ = [
    "CropBatch",
    "LatentCache",
    "LatentOptions",
    "LatentPlan",
    "MomentsEncoder",
    "OnlineLatents",
    "Verification",
    "describe_failures",
    "encode_collated",
    "load_crops",
    "open_latents",
    "pick_rank",
    "plan_latents",
    "verify_latents",
]
