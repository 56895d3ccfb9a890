"""Plans and outcomes into words; one module per format."""
