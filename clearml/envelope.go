package clearml

import (
	"encoding/json"
	"errors"
)

// envelope is what every reply is wrapped in.
type envelope struct {
	Meta *struct {
		Code    int    `json:"result_code"`
		Subcode int    `json:"result_subcode"`
		Message string `json:"result_msg"`
	} `json:"meta"`
	Data json.RawMessage `json:"data"`
}

var errNoEnvelope = errors.New("the reply is not a ClearML server's")

// decodeEnvelope reads a reply. It never returns an envelope without a meta or
// with data that is not there.
func decodeEnvelope(data []byte) (*envelope, error) {
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil || e.Meta == nil || e.Meta.Code == 0 {
		return nil, errNoEnvelope
	}
	if len(e.Data) == 0 || string(e.Data) == "null" {
		e.Data = json.RawMessage("{}")
	}
	return &e, nil
}

// code is the reply's result: the envelope's own word unless the HTTP status
// says worse, which happens when a proxy rewrites one of them.
func (e *envelope) code(status int) int {
	if e.Meta.Code == 200 {
		return status
	}
	return e.Meta.Code
}
