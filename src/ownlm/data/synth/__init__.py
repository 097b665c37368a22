"""documents in, questions out."""
