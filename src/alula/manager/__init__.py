"""The Manager: a controller inside a Kubernetes cluster that carries TaskActions out. It has no database."""
