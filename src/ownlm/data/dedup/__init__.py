"""Duplicates found and removed: exact, lines, MinHash, SimHash, repeated spans, meaning."""
