"""What papers state, to stand beside what was measured: never measured here, and on their authors'
own set-up.

Source: Han et al., CVPR 2026 (arXiv 2603.04803), which also gives the figures of DIVA, GenHancer
and un2CLIP.
"""

from __future__ import annotations

METHODS = ("original", "DIVA", "GenHancer", "un2CLIP", "DCR")

# Mean over MMVP-VLM's nine types, in percent, in the order of METHODS.
_MMVP = {
    "OpenAI ViT-L/14 224": (19.2, 25.9, 31.9, 32.6, 33.3),
    "OpenAI ViT-L/14 336": (20.0, 25.2, 29.6, 30.4, 31.1),
    "MetaCLIP ViT-L/14": (23.7, 27.4, 31.9, None, 32.6),
    "MetaCLIP ViT-H/14": (25.2, 31.9, 37.0, None, 37.8),
    "SigLIP SO400M 224": (37.8, 40.7, 42.2, None, 43.0),
    "SigLIP SO400M 384": (37.0, 38.5, 40.0, None, 42.2),
}

# NMI, ACC and ARI, means over MNIST, CIFAR-10, EuroSAT, Caltech-101, DTD and ImageNet-1K.
_CLUSTERING = {
    "OpenAI ViT-L/14 224": {
        "original": (0.71, 0.61, 0.49),
        "GenHancer": (0.65, 0.55, 0.41),
        "DCR": (0.76, 0.67, 0.54),
    },
    "SigLIP SO400M 224": {
        "original": (0.78, 0.70, 0.57),
        "GenHancer": (0.74, 0.64, 0.52),
        "DCR": (0.83, 0.76, 0.65),
    },
}

BACKBONES = tuple(_MMVP)


def published_scores(backbone: str) -> dict[str, dict[str, float]]:
    """Return ``{method: {benchmark.metric: fraction}}`` of ``backbone``, one of `BACKBONES`."""
    scores: dict[str, dict[str, float]] = {}
    for method, percent in zip(METHODS, _MMVP[backbone], strict=True):
        if percent is not None:
            scores[method] = {"mmvp_vlm.mean": percent / 100}
    for method, values in _CLUSTERING.get(backbone, {}).items():
        metrics = ("clustering.nmi", "clustering.acc", "clustering.ari")
        scores[method] |= dict(zip(metrics, values, strict=True))
    return scores
