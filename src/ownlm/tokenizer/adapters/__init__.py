"""Vocabularies of other tools, read into ours."""
