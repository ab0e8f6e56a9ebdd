-- What workers report of their machines, put together by spans of five minutes.
-- The metric '' counts the reports themselves; its max is 1 where one named a task.
CREATE TABLE worker_stat(
  worker TEXT NOT NULL,
  metric TEXT NOT NULL,
  variant TEXT NOT NULL,
  at INTEGER NOT NULL, -- s
  n INTEGER NOT NULL,
  sum REAL NOT NULL,
  min REAL NOT NULL,
  max REAL NOT NULL,
  PRIMARY KEY(worker, metric, variant, at)
) WITHOUT ROWID;
