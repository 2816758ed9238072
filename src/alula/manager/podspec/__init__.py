"""From a task's template to a pod (executor.md 5), and from a pod's status to what it means."""
