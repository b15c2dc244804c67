"""Positives besides augmentation: neighbours in a frozen CLIP, and images made by the diffusion
model.
"""
