-- Times are microseconds since 1970 in UTC; lists and objects are JSON.

CREATE TABLE project(
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL UNIQUE,
  description TEXT NOT NULL,
  default_output_destination TEXT NOT NULL DEFAULT '',
  parent TEXT NOT NULL DEFAULT '',
  user TEXT NOT NULL,
  created INTEGER NOT NULL,
  last_update INTEGER NOT NULL,
  tags TEXT NOT NULL,
  system_tags TEXT NOT NULL
);

-- What changes often. The large subtrees are in task_part, so that a change of
-- status does not rewrite a diff of a megabyte.
CREATE TABLE task(
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  type TEXT NOT NULL,
  status TEXT NOT NULL,
  status_reason TEXT NOT NULL DEFAULT '',
  status_message TEXT NOT NULL DEFAULT '',
  status_changed INTEGER NOT NULL,
  created INTEGER NOT NULL,
  started INTEGER NOT NULL DEFAULT 0,
  completed INTEGER NOT NULL DEFAULT 0,
  published INTEGER NOT NULL DEFAULT 0,
  last_update INTEGER NOT NULL,
  last_change INTEGER NOT NULL,
  last_changed_by TEXT NOT NULL,
  user TEXT NOT NULL,
  project TEXT NOT NULL DEFAULT '',
  parent TEXT NOT NULL DEFAULT '',
  comment TEXT NOT NULL DEFAULT '',
  tags TEXT NOT NULL,
  system_tags TEXT NOT NULL,
  last_worker TEXT NOT NULL DEFAULT '',
  last_worker_report INTEGER NOT NULL DEFAULT 0,
  last_iteration INTEGER NOT NULL DEFAULT 0,
  -- execution.queue: the queue the task is or was in last
  queue TEXT NOT NULL DEFAULT '',
  -- the status that a dequeue gives back
  enqueue_status TEXT NOT NULL DEFAULT '',
  -- the task whose token created this one
  creator TEXT NOT NULL DEFAULT '',
  -- the stream its events belong to; a reset begins a new one
  stream INTEGER NOT NULL,
  log_events INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX task_running ON task(last_update) WHERE status = 'in_progress';
CREATE INDEX task_project ON task(project);
CREATE INDEX task_parent ON task(parent) WHERE parent <> '';

CREATE TABLE task_part(
  n INTEGER PRIMARY KEY,
  task INTEGER NOT NULL REFERENCES task(n) ON DELETE CASCADE,
  part TEXT NOT NULL,
  doc TEXT NOT NULL,
  UNIQUE(task, part)
);

CREATE TABLE queue(
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL UNIQUE,
  user TEXT NOT NULL,
  created INTEGER NOT NULL,
  last_update INTEGER NOT NULL,
  tags TEXT NOT NULL,
  system_tags TEXT NOT NULL,
  metadata TEXT NOT NULL DEFAULT '{}'
);

CREATE TABLE entry(
  queue TEXT NOT NULL REFERENCES queue(id),
  pos INTEGER NOT NULL,
  task TEXT NOT NULL UNIQUE,
  added INTEGER NOT NULL,
  PRIMARY KEY(queue, pos)
) WITHOUT ROWID;

-- A popped task until it is started: its place, and until when it is kept.
CREATE TABLE lease(
  task TEXT PRIMARY KEY,
  queue TEXT NOT NULL REFERENCES queue(id) ON DELETE CASCADE,
  pos INTEGER NOT NULL,
  added INTEGER NOT NULL,
  until INTEGER NOT NULL,
  -- set when the task was stopped or taken back meanwhile: it must not start
  revoked INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE worker(
  id TEXT PRIMARY KEY,
  doc TEXT NOT NULL
) WITHOUT ROWID;

-- One per task and reset. The events of a dead one are deleted bit by bit.
CREATE TABLE stream(
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  dead INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX stream_dead ON stream(n) WHERE dead = 1;

CREATE TABLE log(
  n INTEGER PRIMARY KEY,
  stream INTEGER NOT NULL,
  ts INTEGER NOT NULL, -- ms
  worker TEXT NOT NULL,
  level TEXT NOT NULL,
  msg TEXT NOT NULL
);
CREATE INDEX log_order ON log(stream, ts);

CREATE TABLE series(
  n INTEGER PRIMARY KEY,
  stream INTEGER NOT NULL,
  metric TEXT NOT NULL,
  variant TEXT NOT NULL,
  ts INTEGER NOT NULL,
  iter INTEGER NOT NULL,
  value REAL NOT NULL,
  min REAL NOT NULL,
  min_iter INTEGER NOT NULL,
  max REAL NOT NULL,
  max_iter INTEGER NOT NULL,
  first REAL NOT NULL,
  first_iter INTEGER NOT NULL,
  count INTEGER NOT NULL,
  mean REAL NOT NULL,
  UNIQUE(stream, metric, variant)
);

CREATE TABLE scalar(
  series INTEGER NOT NULL,
  iter INTEGER NOT NULL,
  ts INTEGER NOT NULL,
  value REAL NOT NULL,
  PRIMARY KEY(series, iter)
) WITHOUT ROWID;

-- Plots, debug images and vectors: the event as it was sent.
CREATE TABLE sample(
  n INTEGER PRIMARY KEY,
  stream INTEGER NOT NULL,
  kind TEXT NOT NULL,
  metric TEXT NOT NULL,
  variant TEXT NOT NULL,
  iter INTEGER NOT NULL,
  ts INTEGER NOT NULL,
  doc TEXT NOT NULL,
  UNIQUE(stream, kind, metric, variant, iter)
);

CREATE TABLE model(
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  project TEXT NOT NULL DEFAULT '',
  task TEXT NOT NULL DEFAULT '',
  uri TEXT NOT NULL DEFAULT '',
  ready INTEGER NOT NULL DEFAULT 0,
  user TEXT NOT NULL,
  created INTEGER NOT NULL,
  last_update INTEGER NOT NULL,
  tags TEXT NOT NULL,
  system_tags TEXT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX model_task ON model(task) WHERE task <> '';
