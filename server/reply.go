package server

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// reply makes the envelope of an answer.
type reply struct {
	endpoint, requested, actual string
}

type envelope struct {
	Meta meta `json:"meta"`
	Data any  `json:"data"`
}

type meta struct {
	ID       string       `json:"id"`
	Trx      string       `json:"trx"`
	Endpoint metaEndpoint `json:"endpoint"`
	Code     int          `json:"result_code"`
	Subcode  int          `json:"result_subcode"`
	Message  string       `json:"result_msg"`
	Stack    *string      `json:"error_stack"`
	Error    struct{}     `json:"error_data"`
}

type metaEndpoint struct {
	Name      string `json:"name"`
	Requested string `json:"requested_version"`
	Actual    string `json:"actual_version"`
}

type none struct{}

// writeTime is how long a client may take to read its answer.
const writeTime = 2 * time.Minute

func (p *reply) send(w http.ResponseWriter, r *http.Request, data any, err error, log *slog.Logger) {
	id := newID()
	env := envelope{Meta: meta{
		ID: id, Trx: id, Endpoint: metaEndpoint{p.endpoint, p.requested, p.actual}, Code: http.StatusOK, Message: "OK",
	}, Data: data}
	if err != nil {
		refusal, known := asRefusal(err)
		if !known && r.Context().Err() == nil {
			log.Error("request failed", "endpoint", p.endpoint, "error", err)
		}
		env.Meta.Code, env.Meta.Subcode, env.Meta.Message, env.Data = refusal.code, refusal.sub, refusal.text, none{}
	} else if data == nil {
		env.Data = none{}
	}
	body, err := json.Marshal(env)
	if err != nil {
		log.Error("reply can't be encoded", "endpoint", p.endpoint, "error", err)
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Server", "clearml")
	writeBody(w, r, env.Meta.Code, body)
}

// gzipFrom is the size from which compression is worth its time.
const gzipFrom = 16 << 10

func writeBody(w http.ResponseWriter, r *http.Request, code int, body []byte) {
	// An error below is a client that has gone: there is nobody to tell.
	if len(body) < gzipFrom || !acceptsGzip(r) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(code)
		_, _ = w.Write(body)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(code)
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return
	}
	_, _ = z.Write(body)
	_ = z.Close()
}

func acceptsGzip(r *http.Request) bool {
	for _, enc := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(enc), ";")
		if strings.EqualFold(name, "gzip") && strings.ReplaceAll(params, " ", "") != "q=0" {
			return true
		}
	}
	return false
}
