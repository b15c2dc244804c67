"""The encoder as open_clip, transformers and `dcr.load_encoder` read it."""
