package server

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// download is an answer that is no envelope: text that is written as it is read.
type download struct {
	filename string
	write    func(io.Writer) error
}

// send streams the text. What fails after the first byte cuts the connection, so
// that the client doesn't take a part for the whole.
func (d *download) send(w http.ResponseWriter, a *api) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": d.filename}))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Server", "clearml")
	if err := d.write(&patient{w, http.NewResponseController(w)}); err != nil {
		a.srv.log.Debug("a download ended early", "file", d.filename, "error", err)
		panic(http.ErrAbortHandler)
	}
}

// patient moves the deadline of an answer on while the client reads.
type patient struct {
	io.Writer
	control *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	// An error means that the connection knows no deadlines, as in tests.
	_ = p.control.SetWriteDeadline(time.Now().Add(writeTime))
	return p.Writer.Write(b)
}

// downloadLog gives a whole console as text, a line an event.
func downloadLog(c *call, req *struct {
	byTask
	Type   string  `json:"line_type"`
	Format *string `json:"line_format"`
}) (any, error) {
	line := jsonLine
	switch strings.ToLower(req.Type) {
	case "", "json":
	case "text":
		format := "{asctime} {worker} {level} {msg}"
		if req.Format != nil {
			format = *req.Format
		}
		var err error
		if line, err = textLine(format); err != nil {
			return nil, err
		}
	default:
		return nil, invalid("line_type", "value is not json or text")
	}
	t, err := needTask(c.read(), req.Task)
	if err != nil {
		return nil, err
	}
	return &download{"task_" + t.ID + ".log", func(w io.Writer) error { return writeLog(w, c, t, line) }}, nil
}

// writeLog pages through a console from its beginning.
func writeLog(w io.Writer, c *call, t *task, line func(*logEvent) string) error {
	place := scroll{}
	for {
		events, err := readLog(c.read(), t, false, place, 1000)
		if err != nil || len(events) == 0 {
			return err
		}
		var page strings.Builder
		for _, e := range events {
			page.WriteString(line(e))
		}
		if _, err := io.WriteString(w, page.String()); err != nil {
			return err
		}
		last := events[len(events)-1]
		place = scroll{last.Timestamp, last.n}
	}
}

func jsonLine(e *logEvent) string {
	data, _ := json.Marshal(map[string]any{"asctime": e.Timestamp, "worker": e.Worker, "level": e.Level, "msg": e.Msg, "@timestamp": e.At}) // texts and numbers always encode
	return string(data) + "\n"
}

var placeholder = regexp.MustCompile(`\{\{|\}\}|\{(\w*)\}|\{|\}`)

// textLine reads a format of Python's kind, its placeholders plain names.
func textLine(format string) (func(*logEvent) string, error) {
	if format == "" {
		return nil, refuse(400, 11, "Missing required fields (line_format is required for plain text lines)")
	}
	for _, m := range placeholder.FindAllStringSubmatch(format, -1) {
		if m[0] != "{{" && m[0] != "}}" && !oneOf(m[1], "asctime", "timestamp", "level", "worker", "msg") {
			return nil, refuse(400, 16, "Invalid value for fields (undefined placeholders in line format): placeholders=%.60q", m[0])
		}
	}
	format = strings.TrimRight(format, "\n") + "\n"
	return func(e *logEvent) string {
		values := map[string]string{
			"{{": "{", "}}": "}", "{asctime}": strconv.FormatInt(e.Timestamp, 10), "{timestamp}": strconv.FormatInt(e.Timestamp, 10),
			"{level}": e.Level, "{worker}": e.Worker, "{msg}": e.Msg,
		}
		return placeholder.ReplaceAllStringFunc(format, func(name string) string { return values[name] })
	}, nil
}
