"""The parts of Azure that `acr-cleanup check` asks."""
