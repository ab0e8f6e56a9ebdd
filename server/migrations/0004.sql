-- The stream of a model's events; it has one from its first event on.
ALTER TABLE model ADD COLUMN stream INTEGER NOT NULL DEFAULT 0;

-- How many plots, images and vectors a stream has lost: of each metric and variant
-- the newest are kept.
CREATE TABLE trimmed(
  stream INTEGER NOT NULL,
  kind TEXT NOT NULL,
  events INTEGER NOT NULL,
  PRIMARY KEY(stream, kind)
) WITHOUT ROWID;

-- How long tasks waited in a queue, put together by spans of five minutes: what was
-- popped, and what waited at the end of a span.
CREATE TABLE queue_stat(
  queue TEXT NOT NULL,
  at INTEGER NOT NULL, -- s
  n INTEGER NOT NULL,
  wait REAL NOT NULL, -- s, of all n together
  length INTEGER NOT NULL,
  PRIMARY KEY(queue, at)
) WITHOUT ROWID;
