"""`Hitl`: ask people from any Python program, without a worker."""
