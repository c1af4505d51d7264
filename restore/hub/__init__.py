"""Other people's models: presets, the download cache, what is on this machine."""
