"""An operator's tasks: diagnose, back up and prune the file, and run the demo."""
