"""A pipeline over documents: its steps, the parts it runs in, the workers, what comes out."""
