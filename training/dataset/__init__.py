"""`restore dataset`: annotated photos become triplets of photo, words and edit."""
