"""Following a run: what is written beside it, where else it is shown, how two are compared."""
