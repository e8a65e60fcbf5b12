-- Word of a settled promise is kept until it is known to have arrived, and is sent again if it is not.

ALTER TABLE unblocks ADD COLUMN due INTEGER NOT NULL DEFAULT 0;  -- before that it is on its way

CREATE INDEX unblocks_due  ON unblocks (address, due);

-- What is posted to http(s):// addresses, whichever they are, by when.
CREATE INDEX tasks_push    ON tasks (due)    WHERE state = 'pending' AND address >= 'http' AND address < 'httq';
CREATE INDEX unblocks_push ON unblocks (due) WHERE address >= 'http' AND address < 'httq';
