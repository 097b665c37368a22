"""The page of a run, live or as one file."""
