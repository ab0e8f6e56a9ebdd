-- Console lines are kept in compressed pieces. What an older release has stored
-- in log, a row a line, is read as well and packed bit by bit.
CREATE TABLE log_chunk(
  n INTEGER PRIMARY KEY,
  stream INTEGER NOT NULL,
  first_ts INTEGER NOT NULL, -- ms
  first_n INTEGER NOT NULL,
  last_ts INTEGER NOT NULL,
  last_n INTEGER NOT NULL,
  events INTEGER NOT NULL,
  stored INTEGER NOT NULL, -- when its first line came, µs
  -- 1: to be put together with others; 2: tells what retention has removed
  kind INTEGER NOT NULL,
  dropped INTEGER NOT NULL DEFAULT 0,
  size INTEGER NOT NULL, -- of data
  data BLOB NOT NULL
);
CREATE INDEX log_chunk_forward ON log_chunk(stream, first_ts, first_n);
CREATE INDEX log_chunk_back ON log_chunk(stream, last_ts, last_n);
CREATE INDEX log_chunk_small ON log_chunk(stream) WHERE kind = 1;
CREATE INDEX log_chunk_stored ON log_chunk(stored, size) WHERE kind <> 2;

-- The number of the next line; those of older releases come before.
ALTER TABLE stream ADD COLUMN next INTEGER NOT NULL DEFAULT 0;
UPDATE stream SET next = (SELECT coalesce(max(n), 0) + 1 FROM log) WHERE EXISTS (SELECT 1 FROM log);
