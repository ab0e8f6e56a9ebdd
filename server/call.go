package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
)

// call is one request as its endpoint sees it.
type call struct {
	srv    *Server
	ctx    context.Context
	caller caller
	body   []byte
	query  url.Values
	header http.Header // of the reply
}

// decode reads the request's fields into req, a pointer to a struct, from the
// body or, when that is empty, from the query. Unknown fields are ignored, as
// the real server does; clients send many.
func (c *call) decode(req any) error {
	body := c.body
	if len(body) == 0 {
		body = []byte("{}")
	}
	if len(c.query) > 0 {
		if err := queryInto(c.query, req); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(body, req); err != nil {
		return decodeError(err)
	}
	return required(req)
}

func decodeError(err error) error {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return invalid(typ.Field, "expected %s, got %s", typ.Type, typ.Value)
	}
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return refuse(400, 0, "Bad request: the body is no JSON object")
}

// queryInto reads query parameters, each as a text or, where its field wants
// something else, as a JSON value.
func queryInto(q url.Values, req any) error {
	for k, vs := range q {
		var text, value any = vs[0], jsonValue(vs[0])
		if len(vs) > 1 {
			text, value = vs, vs
		}
		if setField(req, k, text) == nil {
			continue
		}
		if err := setField(req, k, value); err != nil {
			return decodeError(err)
		}
	}
	return nil
}

func setField(req any, name string, value any) error {
	data, err := json.Marshal(map[string]any{name: value})
	if err != nil {
		return err
	}
	return json.Unmarshal(data, req)
}

func jsonValue(s string) any {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	if b, err := strconv.ParseBool(strings.ToLower(s)); err == nil {
		return b
	}
	return s
}

// required checks the fields that are tagged `need:"1"`.
func required(req any) error { return requiredIn(reflect.ValueOf(req).Elem()) }

func requiredIn(v reflect.Value) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			if err := requiredIn(v.Field(i)); err != nil {
				return err
			}
			continue
		}
		if f.Tag.Get("need") != "" && v.Field(i).IsZero() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			return missing(name)
		}
	}
	return nil
}

// texts is a list of strings that may come as a single one.
type texts []string

// UnmarshalJSON accepts null, a string and a list of strings.
func (t *texts) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		*t = texts{s}
		return nil
	}
	var list []string
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	*t = list
	return nil
}

// object is a JSON object that is stored as it came.
type object map[string]json.RawMessage

// update runs f in the writer.
func (c *call) update(f func(*tx) error) error { return c.srv.store.update(c.ctx, f) }

// read gives the readers' view.
func (c *call) read() *view { return &c.srv.store.read }
