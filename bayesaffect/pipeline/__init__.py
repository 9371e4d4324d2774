"""The wiring of a study: a module per verb of the command line, and early, late and hybrid fusion (`fusions`)."""
