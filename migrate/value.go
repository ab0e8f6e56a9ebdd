package migrate

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// noopError tells that a value asks for nothing, and why.
type noopError string

func (e noopError) Error() string { return string(e) }

func nothing(format string, args ...any) error { return noopError(fmt.Sprintf(format, args...)) }

// refusal tells why a value is not carried over, and what to do.
type refusal string

func (e refusal) Error() string { return string(e) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// textOf is a value as text; HOCON leaves 3.10 or 8008 a number.
func textOf(v any) (string, error) {
	switch x := v.(type) {
	case string:
		return strings.TrimSpace(x), nil
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64), nil
	case json.Number:
		return x.String(), nil
	case bool:
		return strconv.FormatBool(x), nil
	}
	return "", refuse("its value is no text")
}

// boolOf reads a value as clearml-agent reads switches.
func boolOf(v any) (bool, error) {
	if b, ok := v.(bool); ok {
		return b, nil
	}
	s, err := textOf(v)
	if err != nil {
		return false, refuse("its value is neither true nor false")
	}
	switch strings.ToLower(s) {
	case "y", "yes", "t", "true", "on", "1":
		return true, nil
	case "n", "no", "f", "false", "off", "0", "":
		return false, nil
	}
	return false, refuse("its value is neither true nor false")
}

func numberOf(v any) (float64, error) {
	s, err := textOf(v)
	if err != nil {
		return 0, refuse("its value is no number")
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(x) || math.Abs(x) > 1e15 {
		return 0, refuse("its value is no number")
	}
	return x, nil
}

func wholeOf(v any) (int, error) {
	x, err := numberOf(v)
	if err == nil && x != math.Trunc(x) {
		err = refuse("its value is no whole number")
	}
	return int(x), err
}

// listOf is a list of texts; one text counts as a list of it.
func listOf(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		s, err := textOf(v)
		if err != nil {
			return nil, refuse("its value is no list of texts")
		}
		if s == "" {
			return nil, nil
		}
		return []string{s}, nil
	}
	var out []string
	for _, e := range list {
		s, err := textOf(e)
		if err != nil {
			return nil, refuse("its value is no list of texts")
		}
		if s != "" {
			out = append(out, s)
		}
	}
	return out, nil
}

// empty tells whether a value says nothing.
func empty(v any) bool {
	switch x := v.(type) {
	case nil:
		return true
	case string:
		return strings.TrimSpace(x) == ""
	case []any:
		return len(x) == 0
	case map[string]any:
		return len(x) == 0
	}
	return false
}

// seconds is a number of seconds as node.yaml writes it.
func seconds(x float64) string {
	if x == math.Trunc(x) {
		return strconv.FormatFloat(x, 'f', 0, 64) + "s"
	}
	return strconv.FormatFloat(math.Round(x*1000), 'f', 0, 64) + "ms"
}
