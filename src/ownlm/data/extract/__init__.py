"""The main text of an HTML page: tags, blocks, features, a small learned classifier, Markdown."""
