"""What raw containers are promised (executor.md 6): inputs as files, and that what they leave is collected.

The same on one machine (executors/container) and in a cluster (`alula copilot`, in the pod of the container).
"""
