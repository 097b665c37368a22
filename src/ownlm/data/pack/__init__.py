"""Token shards to rows of one length."""
