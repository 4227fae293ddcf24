"""Bookinfo by behaviour as published: four services, six workloads; our own words, pages and style."""
