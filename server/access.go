package server

import "strings"

// A task's process gets a token of its own, never the operator's keys. With it
// the process may read everything and may create tasks, as pipelines and
// optimizers do, but it may change only its own task and those it has created.
// Endpoints for the operator alone are marked in the registry: what takes tasks
// off queues, speaks for workers or deletes queues.

// mayChange refuses a task's token the change of a foreign task.
func (c *call) mayChange(t *task) error {
	if c.caller.task == "" || c.caller.task == t.ID || c.caller.task == t.creator {
		return nil
	}
	return forbidden("task " + t.ID)
}

// mayStore refuses a task's token a file that lies under another task's name:
// the SDK puts a task's files below PROJECT/NAME.ID/.
func (s *Server) mayStore(who caller, path string) error {
	if who.task == "" {
		return nil
	}
	for _, segment := range strings.Split(path, "/") {
		dot := strings.LastIndexByte(segment, '.')
		if dot < 0 || len(segment)-dot-1 != 32 {
			continue
		}
		t, err := getTask(&s.store.read, segment[dot+1:])
		if err != nil {
			return err
		}
		if t != nil && t.ID != who.task && t.creator != who.task {
			return forbidden("files of task " + t.ID)
		}
	}
	return nil
}
