"""Positives besides augmentation: a frozen CLIP's neighbours, and images made by diffusion."""
