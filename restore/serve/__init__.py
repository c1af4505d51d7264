"""`restore serve`: an HTTP API around one engine, and a page to brush on."""
