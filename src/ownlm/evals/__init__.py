"""anything Generate -> scores."""
