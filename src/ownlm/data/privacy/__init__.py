"""Personal data: found by rules with checksums and a small name model, replaced by typed placeholders."""
