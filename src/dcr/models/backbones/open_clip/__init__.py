"""open_clip's models as data: what a source names, its configuration, weights and tokenizer."""
