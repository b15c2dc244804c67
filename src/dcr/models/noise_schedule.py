"""The noise schedule of models that are built here, at full size without weights or for a demo."""

from __future__ import annotations

from diffusers import DDPMScheduler


def build_scheduler() -> DDPMScheduler:
    """Build Stable Diffusion 2.1's noise schedule: 1000 steps, scaled linear, of the velocity."""
    return DDPMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        clip_sample=False,
    )
