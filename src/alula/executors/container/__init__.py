"""Attempts in containers, where there is an engine, and the copilot contract of raw ones, with or without it."""
