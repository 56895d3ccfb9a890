"""Azure Container Registry: its requests, tokens and rate limits."""
