package server

import (
	"slices"
)

type queueTask struct {
	Queue        string `json:"queue" need:"1"`
	Task         string `json:"task" need:"1"`
	Count        int    `json:"count"`
	UpdateStatus bool   `json:"update_task_status"`
}

// addTask puts a task in a queue, which here is an enqueue: a task that is in a
// queue without being queued would never be run.
func addTask(c *call, req *queueTask) (any, error) {
	err := c.update(func(t *tx) error {
		_, err := enqueueOne(t, c, &manyRequest{Queue: req.Queue, Reason: "added to queue"}, req.Task)
		return err
	})
	return map[string]any{"added": 1}, err
}

// removeTask takes a task off a queue. The real server leaves it queued in no
// queue unless asked; here its status is always given back.
func removeTask(c *call, req *queueTask) (any, error) {
	err := c.update(func(t *tx) error {
		if _, err := findQueue(t.view, req.Queue); err != nil {
			return err
		}
		if _, err := t.place(req.Queue, req.Task); err != nil {
			return err
		}
		return t.restore(req.Task, "removed from queue")
	})
	return map[string]any{"removed": 1}, err
}

// place is a task's key in its queue.
func (t *tx) place(queue, task string) (pos int64, err error) {
	found, err := t.one(`SELECT pos FROM entry WHERE queue = ? AND task = ?`, args(queue, task), &pos)
	if err == nil && !found {
		err = refuse(400, 703, "Task not found in queue: queue=%s, task=%s", queue, task)
	}
	return pos, err
}

// A move gives the new index of the entry at index i of n.
type move func(i, n, count int) int

func toFront(_, _, _ int) int      { return 0 }
func toBack(_, n, _ int) int       { return n - 1 }
func forward(i, _, count int) int  { return max(0, i-min(count, i)) }
func backward(i, n, count int) int { return min(n-1, i+min(count, n)) }

func moveTask(to move) func(*call, *queueTask) (any, error) {
	return func(c *call, req *queueTask) (any, error) {
		position := 0
		err := c.update(func(t *tx) (err error) {
			if _, err := findQueue(t.view, req.Queue); err != nil {
				return err
			}
			if _, err := t.place(req.Queue, req.Task); err != nil {
				return err
			}
			position, err = t.moveEntry(req.Queue, req.Task, to, max(req.Count, 1))
			return err
		})
		return map[string]any{"position": position}, err
	}
}

// moveEntry gives an entry another place. To the front it takes a key before all
// others; for the rest the keys between the two places go round.
func (t *tx) moveEntry(queue, task string, to move, count int) (int, error) {
	t.touch(queueTopic(queue))
	var order []string
	var keys []int64
	err := t.each(`SELECT task, pos FROM entry WHERE queue = ? ORDER BY pos`, args(queue), func(scan func(...any) error) error {
		var id string
		var pos int64
		err := scan(&id, &pos)
		order, keys = append(order, id), append(keys, pos)
		return err
	})
	if err != nil {
		return 0, err
	}
	from := slices.Index(order, task)
	target := to(from, len(order), count)
	if target == 0 {
		_, err := t.exec(`UPDATE entry SET pos = ? WHERE task = ?`, keys[0]-1, task)
		return 0, err
	}
	if target == len(order)-1 {
		_, err := t.exec(`UPDATE entry SET pos = ? WHERE task = ?`, keys[target]+1, task)
		return target, err
	}
	return target, t.rotate(order, keys, from, target)
}

// rotate moves order[from] to target and gives those in between the keys in
// their order. Negative keys in between keep the primary key unique meanwhile.
func (t *tx) rotate(order []string, keys []int64, from, target int) error {
	moved := slices.Insert(slices.Delete(slices.Clone(order), from, from+1), target, order[from])
	first, last := min(from, target), max(from, target)
	parked := min(keys[0], 0) - int64(len(order)) - 1
	for i := first; i <= last; i++ {
		if _, err := t.exec(`UPDATE entry SET pos = ? WHERE task = ?`, parked-int64(i), moved[i]); err != nil {
			return err
		}
	}
	for i := first; i <= last; i++ {
		if _, err := t.exec(`UPDATE entry SET pos = ? WHERE task = ?`, keys[i], moved[i]); err != nil {
			return err
		}
	}
	return nil
}
