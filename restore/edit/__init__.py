"""Repainting part of a photo: find where, fill, judge, repeat."""
