"""A Kubernetes cluster as an executor: TaskActions are written, and their status is read."""
