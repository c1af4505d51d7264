"""Trained networks that grade one picture."""
