"""token shards -> weights."""
