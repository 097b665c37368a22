"""The published updates, one a file."""
