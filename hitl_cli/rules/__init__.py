"""Standing rules: a person's answer to requests that are not asked yet (docs/guides/rules.md)."""
