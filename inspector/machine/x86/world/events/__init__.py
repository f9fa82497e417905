"""Events as words: what ``inspector sim``, scenarios and the lab let happen."""
