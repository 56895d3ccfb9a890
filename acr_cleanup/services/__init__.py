"""Other services of Azure that pull from the registry."""
