"""What families of transformers share: folders as data, a backbone around their models."""
