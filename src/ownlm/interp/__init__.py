"""Explanations of a model: which training examples an answer is owed to, and which examples it would not miss."""
