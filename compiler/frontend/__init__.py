"""Model files → the graph IR."""
