"""numbers before money."""
