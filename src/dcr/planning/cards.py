"""What cards compute and hold, as their vendor's data sheets state it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """A card, by dense peaks: data sheets often state those of sparse matrices, twice as high.

    Attributes:
        name: as people call it.
        memory_gb: in 10^9 bytes.
        bf16_tflops: of tensor cores in bfloat16 or float16 that add up in float32, 10^12 a second.
        float32_tflops: outside of tensor cores: training's float32 is no TF32.
        source: the data sheet.
    """

    name: str
    memory_gb: int
    bf16_tflops: float
    float32_tflops: float
    source: str

    def peak(self, mixed_precision: str) -> float:
        """Return the operations a second in ``mixed_precision``, ``no``, ``bf16`` or ``fp16``."""
        return 1e12 * (self.float32_tflops if mixed_precision == "no" else self.bf16_tflops)


CARDS = (
    Card("A100 80GB", 80, 312.0, 19.5, "NVIDIA A100 Tensor Core GPU, data sheet"),
    Card("H100 SXM", 80, 989.5, 67.0, "NVIDIA H100 Tensor Core GPU, data sheet"),
    Card("H200 SXM", 141, 989.5, 67.0, "NVIDIA H200 Tensor Core GPU, data sheet"),
    Card("L40S", 48, 362.05, 91.6, "NVIDIA L40S, data sheet"),
    Card("RTX 4090", 24, 165.2, 82.6, "NVIDIA Ada GPU Architecture, white paper, appendix A"),
)
"""The cards that a plan gives hours on; the first is what savings are told in."""
