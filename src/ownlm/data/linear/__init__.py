"""A linear model over hashed n-grams: features, training, calibration, files."""
