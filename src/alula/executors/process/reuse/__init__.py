"""Reusable workers: processes of the task runtime that serve many attempts each."""
