package server

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"syscall"
	"time"
)

// filesHandler is the file server: POST / takes files, their part's name is
// their path; GET with ranges, HEAD and DELETE take the path. All need a token,
// by header or by the cookie of a login.
func (s *Server) filesHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			s.health(w, r)
			return
		}
		who, err := s.keys.authorize(r, true)
		if err == nil {
			err = s.serveFile(w, r, who)
		}
		if err == nil {
			return
		}
		refused, known := asRefusal(err)
		if !known && r.Context().Err() == nil {
			s.log.Error("file request failed", "method", r.Method, "error", err)
		}
		http.Error(w, refused.text, refused.code)
	})
}

func (s *Server) serveFile(w http.ResponseWriter, r *http.Request, who caller) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return s.sendFile(w, r)
	case http.MethodPost, http.MethodPut:
		return s.receiveFiles(w, r, who)
	case http.MethodDelete:
		if err := s.mayStore(who, r.URL.Path); err != nil {
			return err
		}
		if err := s.files.remove(r.URL.Path); err != nil {
			return err
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}
	return refuse(http.StatusMethodNotAllowed, 0, "Method not allowed")
}

func (s *Server) sendFile(w http.ResponseWriter, r *http.Request) error {
	file, info, err := s.files.open(r.URL.Path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	// A task may upload anything: a browser must not run it as a page of ours.
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'; img-src 'self'; style-src 'unsafe-inline'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// No time of change: the same content may come back with an older one.
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		w.Header().Set("ETag", fmt.Sprintf(`"%x-%x-%x"`, st.Ino, info.ModTime().UnixNano(), info.Size()))
	}
	http.ServeContent(w, r, info.Name(), time.Time{}, file)
	return nil
}

// receiveTime is how long an upload may stand still.
const receiveTime = 2 * time.Minute

func (s *Server) receiveFiles(w http.ResponseWriter, r *http.Request, who caller) error {
	parts, err := r.MultipartReader()
	if err != nil {
		return refuse(400, 0, "Bad request: send files as multipart/form-data")
	}
	stored := []string{}
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return errCutOff
		}
		name := partPath(part)
		if err := s.mayStore(who, name); err != nil {
			return err
		}
		if err := s.files.put(name, &alive{part, http.NewResponseController(w)}); err != nil {
			return err
		}
		stored = append(stored, name)
	}
	if len(stored) == 0 {
		return refuse(400, 0, "Bad request: no files")
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(stored)
}

// partPath is the path that a part names. Part.FileName would give its last
// segment alone.
func partPath(p *multipart.Part) string {
	_, params, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
	if err == nil && params["filename"] != "" {
		return params["filename"]
	}
	return p.FormName()
}

// alive moves the deadline of a connection on while bytes come, so that an
// upload may be long but not stand still.
type alive struct {
	r    io.Reader
	conn *http.ResponseController
}

func (a *alive) Read(p []byte) (int, error) {
	// An error means that the connection knows no deadlines, as in tests.
	_ = a.conn.SetReadDeadline(time.Now().Add(receiveTime))
	return a.r.Read(p)
}
