"""A polite crawler for the user's own sites: robots.txt, opt-out signals, a resumable frontier, WARC out."""
