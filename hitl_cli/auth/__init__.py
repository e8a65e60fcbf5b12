"""Authentication: API tokens, links, sign-in by e-mail, signing keys, signatures."""
