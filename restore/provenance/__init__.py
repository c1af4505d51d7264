"""What a picture tells of how it was made."""
