"""Foreign model formats, one file per library."""
