"""How secrets are kept: encrypted, with keys that lie elsewhere."""
