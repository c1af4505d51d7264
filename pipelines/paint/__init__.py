"""Painting in one step: an instruction carried out, an object in a shape."""
