"""What is done to a run: start, list, show, wait, cancel; its steps; schedules."""
