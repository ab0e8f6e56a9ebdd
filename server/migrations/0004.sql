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

-- Finds the earlier images at an address.
CREATE INDEX sample_image ON sample(stream, metric, variant, json_extract(doc, '$.url')) WHERE kind = 'training_debug_image';

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

-- Which tasks have a model as input.
CREATE TABLE model_use(
  model TEXT NOT NULL,
  task INTEGER NOT NULL REFERENCES task(n) ON DELETE CASCADE,
  PRIMARY KEY(model, task)
) WITHOUT ROWID;
CREATE INDEX model_use_task ON model_use(task);
INSERT OR IGNORE INTO model_use(model, task)
  SELECT CASE WHEN i.type = 'object' THEN coalesce(json_extract(i.value, '$.model'), '') ELSE '' END, p.task
  FROM task_part p, json_each(p.doc, '$.input') i WHERE p.part = 'models';
