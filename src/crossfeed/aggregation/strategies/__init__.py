"""How the prices of several venues become one: a file per strategy, found by name in `registry`."""
