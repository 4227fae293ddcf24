"""Stateful waves: what holds up a workload for everybody, the requests that stimulate it, and what these came to."""
