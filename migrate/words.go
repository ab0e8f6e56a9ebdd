package migrate

import (
	"agentctl/runtime/dockerargs"
)

// wordsOf are the words of a text, parted as a shell does it, or a list.
func wordsOf(v any) ([]string, error) {
	if _, ok := v.([]any); ok {
		return listOf(v)
	}
	s, err := textOf(v)
	if err != nil {
		return nil, err
	}
	words, refusal := dockerargs.Split(s)
	if refusal != nil {
		return nil, refuse("it %s; %s", refusal.Fault, refusal.Fix)
	}
	return words, nil
}
