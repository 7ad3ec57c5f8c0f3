"""One import for users: the public names of every package, and nothing else. No other package imports it."""
