"""Optional libraries of the runtime, one per file."""
