"""Networks that know what they do not know: one loop, ensembles of dropout networks, cross-fitting without leaks."""
