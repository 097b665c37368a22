"""question -> grounded answer."""
