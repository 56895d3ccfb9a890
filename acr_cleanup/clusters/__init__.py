"""Edge: how each cluster is reached and read."""
