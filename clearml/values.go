package clearml

import (
	"encoding/json"
	"strings"
	"time"
)

// Lines is a list of text lines that a server holds as a list or as one string.
type Lines []string

// UnmarshalJSON accepts null, a string of lines, and a list of strings. Elements
// of other types are dropped: they can't be lines.
func (l *Lines) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	*l = nil
	switch v := v.(type) {
	case string:
		if v != "" {
			*l = strings.Split(strings.TrimRight(v, "\n"), "\n")
		}
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				*l = append(*l, strings.TrimRight(s, "\n"))
			}
		}
	}
	return nil
}

// Text is a string that a server may also hold as null, a number or a boolean.
type Text string

// UnmarshalJSON accepts any JSON value; what is no string keeps its JSON form.
func (t *Text) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		*t = ""
	case string:
		*t = Text(v)
	default:
		*t = Text(data)
	}
	return nil
}

// Time is a time as ClearML writes it: 2026-11-23T20:50:08.171000+00:00.
type Time struct{ time.Time }

// timeForms are the spellings that are read; servers leave out what is zero.
var timeForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999-07:00"}

// UnmarshalJSON reads a time. Null and what can't be read give the zero time:
// no decision hangs on a date, and a task must not be lost for a bad one.
func (t *Time) UnmarshalJSON(data []byte) error {
	var s string
	t.Time = time.Time{}
	_ = json.Unmarshal(data, &s) // then s stays empty, which is no time either
	for _, form := range timeForms {
		if at, err := time.Parse(form, s); err == nil {
			t.Time = at
			return nil
		}
	}
	return nil
}

// MarshalJSON writes the time, or null for the zero time.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.UTC().Format("2006-01-02T15:04:05.000000-07:00"))
}
