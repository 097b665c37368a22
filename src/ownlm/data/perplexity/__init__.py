"""How surprising a text is to an n-gram model of the text that the user calls good."""
