"""text <-> ids."""
