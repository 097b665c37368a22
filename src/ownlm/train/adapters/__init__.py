"""Optional third parties of the training room, each imported in one file when constructed."""
