"""Other people's models as pipelines."""
