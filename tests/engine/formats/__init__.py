"""Files of every format so far, as SQL: what `record` wrote with the engine of its day, and never again."""
