"""A logical processor: its registers, and what instructions do to them."""
