-- What waited for the outside and has settled, by when: the last answers are read without the earlier ones.

CREATE INDEX promises_settled ON promises (settled_at, seq) WHERE open = 1 AND state <> 'pending';
