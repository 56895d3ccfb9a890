"""Edge: Azure Container Registry."""
