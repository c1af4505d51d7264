"""Measures in closed form: of a picture, of a pair, of sets."""
