"""What an operator does: diagnose the set-up, back up and prune the file, run the demo."""
