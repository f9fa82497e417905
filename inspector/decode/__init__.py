"""Area + layout -> fields, lazily."""
