"""What share of which source, which documents, in which order."""
