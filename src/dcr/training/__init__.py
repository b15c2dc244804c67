"""Two-stage training through a frozen diffusion model; knows nothing of Kedro."""
