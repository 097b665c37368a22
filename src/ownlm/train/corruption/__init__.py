"""Batches that are made harder on purpose: text in, what is shown and what is asked out."""
