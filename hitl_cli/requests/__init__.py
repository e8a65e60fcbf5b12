"""What a request asks, and what a decision on it contains."""
