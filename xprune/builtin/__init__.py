"""The built-in default: a picture generator and a small detector trained on it."""
