package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// historyRequest asks for one image, or the plots of one metric, at an iteration;
// the next calls go on from there.
type historyRequest struct {
	sourceRequest
	Metric    string `json:"metric" need:"1"`
	Variant   string `json:"variant"`
	Iteration *int64 `json:"iteration"`
	ScrollID  string `json:"scroll_id"`
	OneMetric *bool  `json:"navigate_current_metric"`
}

type nextRequest struct {
	sourceRequest
	ScrollID string `json:"scroll_id" need:"1"`
	Earlier  *bool  `json:"navigate_earlier"`
	NextIter bool   `json:"next_iteration"`
}

// history is a place in the samples of a source. It is the scroll id itself, so the
// server remembers nothing.
type history struct {
	Task      string `json:"t"`
	Metric    string `json:"m"`
	Variant   string `json:"v,omitempty"`
	Iter      int64  `json:"i"`
	Found     bool   `json:"f"` // else nothing was there, and nothing comes next
	OneMetric bool   `json:"o"`
}

func (h *history) String() string {
	data, _ := json.Marshal(h) // texts and numbers always encode
	return base64.RawURLEncoding.EncodeToString(data)
}

func readHistory(id, task string) (*history, error) {
	h := &history{}
	data, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || json.Unmarshal(data, h) != nil || h.Task != task {
		return nil, errScroll
	}
	return h, nil
}

// clearScroll is for scrolls that a server remembers; here a scroll id is all there
// is of one.
func clearScroll(*call, *struct {
	ScrollID string `json:"scroll_id" need:"1"`
}) (any, error) {
	return none{}, nil
}

// kinds of histories: an image stands alone, the plots of a metric come together.
type historyKind struct {
	kind  string
	alone bool
}

var (
	imageHistory = historyKind{typeImage, true}
	plotHistory  = historyKind{typePlot, false}
)

func (k historyKind) sample(c *call, req *historyRequest) (any, error) {
	if k.alone && req.Variant == "" {
		return nil, missing("variant")
	}
	s, err := req.find(c.read())
	if err != nil {
		return nil, err
	}
	at := &history{Task: req.Task, Metric: req.Metric, OneMetric: req.OneMetric == nil || *req.OneMetric}
	if k.alone {
		at.Variant = req.Variant
	}
	if req.ScrollID != "" {
		before, err := readHistory(req.ScrollID, req.Task)
		if err != nil {
			return nil, err
		}
		if before.OneMetric != at.OneMetric || at.OneMetric && before.Metric != at.Metric {
			return nil, errScroll
		}
	}
	var where filter
	k.within(&where, s, at, true)
	if req.Iteration != nil {
		where.add(`iter <= ?`, *req.Iteration)
	}
	return k.answer(c.read(), s, at, &where, true)
}

func (k historyKind) next(c *call, req *nextRequest) (any, error) {
	s, err := req.find(c.read())
	if err != nil {
		return nil, err
	}
	at, err := readHistory(req.ScrollID, req.Task)
	if err != nil {
		return nil, err
	}
	earlier := req.Earlier == nil || *req.Earlier
	if !at.Found {
		return k.reply(at, nil, nil, nil), nil
	}
	var where filter
	k.within(&where, s, at, false)
	beyond := map[bool]string{true: "<", false: ">"}[earlier]
	switch {
	case req.NextIter, !k.alone && at.OneMetric:
		where.add(`iter `+beyond+` ?`, at.Iter)
	case k.alone:
		where.add(`(iter, metric, variant) `+beyond+` (?, ?, ?)`, at.Iter, at.Metric, at.Variant)
	default:
		where.add(`(iter, metric) `+beyond+` (?, ?)`, at.Iter, at.Metric)
	}
	return k.answer(c.read(), s, at, &where, earlier)
}

// within keeps the samples that a history goes through: of a metric or of all, and
// for its beginning of the variant that is asked for.
func (k historyKind) within(f *filter, s *source, at *history, begin bool) {
	f.add(`stream = ? AND kind = ?`, s.stream, k.kind)
	if at.OneMetric || begin {
		f.add(`metric = ?`, at.Metric)
	}
	if k.alone && begin {
		f.add(`variant = ?`, at.Variant)
	}
	if k.alone {
		f.add(`json_extract(doc, '$.url') IS NOT NULL`)
	}
}

// answer gives what comes first, backward from the end or forward.
func (k historyKind) answer(v *view, s *source, at *history, where *filter, back bool) (any, error) {
	way := map[bool]string{true: " DESC", false: ""}[back]
	var metric, variant string
	var iter int64
	found, err := v.one(`SELECT metric, variant, iter FROM sample`+where.text()+fmt.Sprintf(` ORDER BY iter%[1]s, metric%[1]s, variant%[1]s LIMIT 1`, way),
		where.args, &metric, &variant, &iter)
	if err != nil || !found {
		return k.reply(at, nil, nil, nil), err
	}
	at.Metric, at.Iter, at.Found = metric, iter, true
	var one filter
	one.add(`stream = ? AND kind = ? AND metric = ?`, s.stream, k.kind, metric)
	if k.alone {
		at.Variant = variant
		one.add(`variant = ?`, variant)
	}
	var first, last int64
	if _, err := v.one(`SELECT min(iter), max(iter) FROM sample`+one.text(), one.args, &first, &last); err != nil {
		return nil, err
	}
	one.add(`iter = ?`, iter)
	docs := []json.RawMessage{}
	err = v.each(`SELECT doc FROM sample`+one.text()+` ORDER BY variant LIMIT ?`, append(one.args, maxCharts), func(scan func(...any) error) error {
		var doc []byte
		err := scan(&doc)
		docs = append(docs, doc)
		return err
	})
	return k.reply(at, docs, &first, &last), err
}

func (k historyKind) reply(at *history, docs []json.RawMessage, first, last *int64) map[string]any {
	reply := map[string]any{"scroll_id": at.String(), "min_iteration": first, "max_iteration": last}
	switch {
	case !k.alone:
		reply["events"] = nonNil(docs)
	case len(docs) > 0:
		reply["event"] = docs[0]
	default:
		reply["event"] = nil
	}
	return reply
}
