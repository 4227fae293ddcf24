"""The truth benchmark's parts: topologies made from a seed, what a request meets in them, what is true, and the score.

It shares no code with the rules or with the lab's applications: only the topology file's own words
(`chaosmesh_ext.model.topology`) are read by both.
"""
