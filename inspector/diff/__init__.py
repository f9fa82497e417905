"""States side by side: fields matched by path, and what of each differs."""
