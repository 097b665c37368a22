"""the machine and the run: files, artifacts, run log, progress, seeds, hardware."""
