"""weights -> assistant."""
