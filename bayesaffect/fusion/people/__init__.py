"""One person at a time: effects from a few labels, or from opinions alone."""
