"""The HTTP edge: how the server is, and the stock."""
