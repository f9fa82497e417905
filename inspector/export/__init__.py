"""What leaves the program: text, JSON, captures, blobs."""
