"""Rows of several shard sets as one resumable stream."""
