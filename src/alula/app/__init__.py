"""The composition root: builds a server from its settings. The one package that imports everybody."""
