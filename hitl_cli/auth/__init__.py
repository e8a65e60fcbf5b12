"""How somebody proves who they are: API tokens, links, sign-in by e-mail, signing keys, signatures."""
