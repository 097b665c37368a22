"""Steps that keep or drop one document at a time, each with a reason."""
