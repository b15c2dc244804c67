"""Image towers, the frozen diffusion model, what joins them, and where their files come from."""
