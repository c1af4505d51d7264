"""The page: HTML, scripts and styles, as they are sent."""
