"""Where a run takes place: terminal, GitHub Actions, Azure Pipelines. Strings in, strings out."""
