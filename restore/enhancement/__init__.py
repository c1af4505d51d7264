"""Restoring a whole photo: one task, sampled and judged."""
