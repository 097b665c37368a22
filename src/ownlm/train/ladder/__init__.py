"""A ladder of small runs of growing size and length, from which the loss of a larger one is predicted."""
