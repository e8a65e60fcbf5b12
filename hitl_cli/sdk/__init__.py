"""Everything that depends on resonate-sdk's private names."""
