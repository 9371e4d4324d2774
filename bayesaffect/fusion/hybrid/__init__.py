"""Hybrid fusion: opinions and features together, under attention."""
