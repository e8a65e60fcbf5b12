"""How values are shown and read: durations, times, sizes, terminal text, Markdown."""
