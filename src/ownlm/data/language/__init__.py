"""Which language a text is in: a table of letter n-grams that comes with the package."""
