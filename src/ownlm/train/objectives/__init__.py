"""What a model is trained for: each objective is a function of model and batch."""
