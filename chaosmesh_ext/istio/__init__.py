"""Istio's words as pure functions: host names, durations, matches, label selectors."""
