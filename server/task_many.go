package server

// manyRequest is the request of the _many forms, and with one id that of the
// plain ones.
type manyRequest struct {
	IDs     texts  `json:"ids"`
	Reason  string `json:"status_reason"`
	Message string `json:"status_message"`
	Force   bool   `json:"force"`

	Queue         string `json:"queue"`
	QueueName     string `json:"queue_name"`
	VerifyWatched bool   `json:"verify_watched_queue"`
	NewStatus     string `json:"new_status"`
	FileURLs      bool   `json:"return_file_urls"`
	OutputModels  *bool  `json:"delete_output_models"`

	// Of models.publish_many; the SDK calls the first by the second name.
	PublishTask  *bool `json:"publish_task"`
	PublishTasks *bool `json:"publish_tasks"`
	ForcePublish bool  `json:"force_publish_task"`
}

// action is what is done to each task, or each model; it runs in the writer.
type action func(t *tx, c *call, req *manyRequest, id string) (map[string]any, error)

// maxMany bounds the work of one request in the writer.
const maxMany = 1000

// bounded refuses a list that is empty, or longer than one request may have: the
// rest of it must not be left undone without a word.
func bounded(field string, ids texts) error {
	switch {
	case len(ids) == 0:
		return missing(field)
	case len(ids) > maxMany:
		return invalid(field, "more than %d", maxMany)
	}
	return nil
}

// many makes the _many form of an action: each for itself, what fails does
// not undo the others.
func many(do action) func(*call, *manyRequest) (any, error) {
	return func(c *call, req *manyRequest) (any, error) {
		if err := bounded("ids", req.IDs); err != nil {
			return nil, err
		}
		succeeded, failed := []any{}, []any{}
		for _, id := range req.IDs {
			var reply map[string]any
			err := c.update(func(t *tx) (err error) {
				reply, err = do(t, c, req, id)
				return err
			})
			if err != nil {
				r, known := asRefusal(err)
				if !known {
					return nil, err
				}
				failed = append(failed, map[string]any{"id": id, "error": map[string]any{
					"codes": []int{r.code, r.sub}, "msg": r.text, "data": none{},
				}})
				continue
			}
			reply["id"] = id
			for _, flag := range []string{"queued", "dequeued"} { // numbers in the plain forms, or what was removed
				switch v := reply[flag].(type) {
				case int:
					reply[flag] = v > 0
				case none, map[string]any:
					reply[flag] = v != none{}
				}
			}
			succeeded = append(succeeded, reply)
		}
		return map[string]any{"succeeded": succeeded, "failed": failed}, nil
	}
}

// one runs an action for the plain form.
func one(c *call, req *statusRequest, do action) (any, error) {
	return oneOfMany(c, req.Task, &manyRequest{Reason: req.Reason, Message: req.Message, Force: req.Force}, do)
}

func oneOfMany(c *call, id string, req *manyRequest, do action) (any, error) {
	var reply map[string]any
	err := c.update(func(t *tx) (err error) {
		reply, err = do(t, c, req, id)
		return err
	})
	return reply, err
}
