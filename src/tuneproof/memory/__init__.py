"""Peak memory, estimated and measured."""
