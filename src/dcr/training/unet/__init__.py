"""The frozen UNet on every pair of a row's noisy latent and a column's condition."""
