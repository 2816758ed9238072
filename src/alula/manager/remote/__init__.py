"""Attempts that are no objects of the cluster: what they are given, and the connectors that carry them out."""
