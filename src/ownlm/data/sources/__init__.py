"""Input of any kind to documents: cut into parts, enumerated as units, read one unit at a time."""
