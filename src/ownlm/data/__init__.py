"""documents in, documents out."""
