"""A service of a topology file: does exactly what its words mean."""
