"""The embedded networks."""
