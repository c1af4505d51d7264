"""Undoing a known degradation with a prior."""
