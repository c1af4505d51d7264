"""Examples made for training: photos, holes, scenes, fills."""
