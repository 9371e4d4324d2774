"""How a Pyro model becomes draws: its density captured and compiled, then sampled."""
