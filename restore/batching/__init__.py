"""Folders and tables of pictures, of any length, unattended: planned, shared out, taken up where they stopped."""
