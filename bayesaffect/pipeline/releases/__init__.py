"""A finished study as a model for others: written, checked, used; nobody's data in it."""
