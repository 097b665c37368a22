"""Sequence mixers built on softmax attention, one per file."""
