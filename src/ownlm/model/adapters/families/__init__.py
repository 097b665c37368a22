"""Hugging Face model families, one per file."""
