"""The embedded fill: the photo's own pixels, moved where a draft says."""
