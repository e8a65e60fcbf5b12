"""Standing rules: a person's answers to future requests (docs/guides/rules.md)."""
