"""How results are printed: tables, blocks, requests, Markdown."""
