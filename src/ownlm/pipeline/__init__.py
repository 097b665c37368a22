"""the stages from a folder of text to an assistant, in order."""
