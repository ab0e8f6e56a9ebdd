package server

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

//go:embed pages/*.html
var pageFiles embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{"when": when}).ParseFS(pageFiles, "pages/*.html"))

func when(us int64) string {
	if us == 0 {
		return ""
	}
	return time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05 UTC")
}

// experiment is the address of a task that the SDK prints; older ones print the
// second form.
var experiment = regexp.MustCompile(`^/projects/[^/]+/(?:tasks|experiments)/([0-9a-zA-Z_-]+)(/.*)?$`)

// webHandler shows tasks as plain pages. It asks for the operator's keys by the
// browser's own dialogue, since consoles are nobody else's business.
func (s *Server) webHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			s.health(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		who, err := s.keys.authorize(r, true)
		if err == nil && who.task != "" {
			err = forbidden("pages")
		}
		var page string
		var data any
		if err == nil {
			page, data, err = s.page(r)
		}
		if err != nil {
			s.pageError(w, r, err)
			return
		}
		s.render(w, page, data)
	})
}

func (s *Server) pageError(w http.ResponseWriter, r *http.Request, err error) {
	refused, known := asRefusal(err)
	if !known {
		s.log.Error("page failed", "path", r.URL.Path, "error", err)
	}
	code := refused.code
	switch {
	case code == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="agentctl: access key and secret key", charset="UTF-8"`)
	case refused.sub == 101:
		code = http.StatusNotFound
	}
	http.Error(w, refused.text, code)
}

func (s *Server) render(w http.ResponseWriter, page string, data any) {
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, page, data); err != nil {
		s.log.Error("page not rendered", "page", page, "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(body.Bytes()) // an error is a browser that has gone
}

// page finds the page of a path and what it shows.
func (s *Server) page(r *http.Request) (name string, data any, err error) {
	if m := experiment.FindStringSubmatch(r.URL.Path); m != nil {
		data, err = s.taskPage(m[1])
		return "task.html", data, err
	}
	if r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/projects") || r.URL.Path == "/dashboard" {
		data, err = s.listPage()
		return "list.html", data, err
	}
	return "", nil, refuse(http.StatusNotFound, 0, "Page not found")
}

// pageTask is a task as the pages show it.
type pageTask struct {
	ID, Name, Project, Status, Reason, Message, Worker, Queue string
	Created, Started, Completed, Updated                      int64
	Running                                                   bool
}

const pageTaskText = `SELECT t.id, t.name, coalesce(p.name, ''), t.status, t.status_reason, t.status_message, t.last_worker,
	coalesce(q.name, t.queue), t.created, t.started, t.completed, t.last_update
	FROM task t LEFT JOIN project p ON p.id = t.project LEFT JOIN queue q ON q.id = t.queue`

func (p *pageTask) scan(scan func(...any) error) error {
	err := scan(&p.ID, &p.Name, &p.Project, &p.Status, &p.Reason, &p.Message, &p.Worker, &p.Queue, &p.Created, &p.Started, &p.Completed, &p.Updated)
	p.Running = p.Status == "in_progress" || p.Status == "queued"
	return err
}

// listed is how many tasks the list shows, and lines how much of a console.
const (
	listed = 200
	lines  = 500
)

func (s *Server) listPage() (any, error) {
	var tasks []pageTask
	err := s.store.read.each(pageTaskText+` ORDER BY t.n DESC LIMIT ?`, args(listed), func(scan func(...any) error) error {
		var p pageTask
		err := p.scan(scan)
		tasks = append(tasks, p)
		return err
	})
	return map[string]any{"Tasks": tasks, "Limit": listed}, err
}

func (s *Server) taskPage(id string) (any, error) {
	t, err := needTask(&s.store.read, id)
	if err != nil {
		return nil, err
	}
	var p pageTask
	err = s.store.read.each(pageTaskText+` WHERE t.id = ?`, args(id), p.scan)
	if err != nil {
		return nil, err
	}
	events, err := readLog(&s.store.read, t, true, scroll{}, lines)
	if err != nil {
		return nil, err
	}
	slices.Reverse(events)
	all, err := seriesOf(&s.store.read, t.stream, nil)
	if err != nil {
		return nil, err
	}
	type value struct {
		Metric, Variant string
		Value           float64
		Iter            int64
	}
	var values []value
	for _, c := range all {
		values = append(values, value{c.metric, c.variant, c.value, c.iter})
	}
	return map[string]any{
		"Task": p, "Events": events, "Values": values, "Earlier": t.logEvents - int64(len(events)),
	}, nil
}
