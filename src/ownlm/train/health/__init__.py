"""What goes wrong in a run, found while it runs."""
