"""The doors: readers of recordings and of opinions tables, and the workspace on disk."""
