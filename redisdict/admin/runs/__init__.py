"""Show benchmark runs, and start them."""
