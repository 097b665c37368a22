"""`ownlm pretrain`: data, a size and a budget in; a model folder and the whole record of its run out."""
