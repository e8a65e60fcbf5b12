"""Sign-in with OpenID Connect: an authenticator with pages of its own (docs/guides/company-sign-in.md)."""
