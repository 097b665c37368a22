"""One run on several processes, through torch.distributed."""
