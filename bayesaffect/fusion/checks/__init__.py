"""Is the posterior one, and is the model true: gate, criticism, comparison, generated data."""
