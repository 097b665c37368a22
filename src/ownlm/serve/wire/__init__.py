"""the wire formats."""
