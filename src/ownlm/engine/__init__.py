"""request -> tokens: the batching engine."""
