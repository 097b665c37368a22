"""records -> trust."""
