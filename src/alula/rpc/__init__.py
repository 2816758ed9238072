"""Connect, gRPC and gRPC-Web from protobuf descriptors, on one port. It knows nothing of Flyte."""
