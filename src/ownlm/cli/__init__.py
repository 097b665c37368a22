"""one thin file per command."""
