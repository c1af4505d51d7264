"""What networks see in pictures, as rows of numbers."""
