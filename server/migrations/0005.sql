-- What each delete and reset of a task looks for; indexes of a part of the rows are
-- not used for values that a statement is given later.
DROP INDEX task_parent;
CREATE INDEX task_parent ON task(parent);
DROP INDEX model_task;
CREATE INDEX model_task ON model(task);
CREATE INDEX task_stream ON task(stream);

-- With both ends of a piece, so that a page of a console reads the pieces that it shows.
DROP INDEX log_chunk_forward;
CREATE INDEX log_chunk_forward ON log_chunk(stream, first_ts, first_n, last_ts);
DROP INDEX log_chunk_back;
CREATE INDEX log_chunk_back ON log_chunk(stream, last_ts, last_n, first_ts);

CREATE INDEX worker_stat_at ON worker_stat(at);
