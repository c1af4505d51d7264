"""Measuring many pictures and sets of them."""
