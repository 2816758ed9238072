"""Further below."""
