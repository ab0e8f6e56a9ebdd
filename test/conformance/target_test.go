package conformance

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"agentctl/server"
)

// target is the server under test.
type target struct {
	url, auth string
	files     string // "" when it is not known
	ours      bool
}

// answer is a server's reply.
type answer struct {
	code, sub int
	msg       string
	data      any
}

// theTarget is the server that the environment names, or an embedded one.
func theTarget(t *testing.T) *target {
	t.Helper()
	at := &target{url: strings.TrimRight(os.Getenv("AGENTCTL_CONFORMANCE_URL"), "/"), files: strings.TrimRight(os.Getenv("CLEARML_FILES_HOST"), "/")}
	keys := server.Credentials{AccessKey: os.Getenv("CLEARML_API_ACCESS_KEY"), SecretKey: os.Getenv("CLEARML_API_SECRET_KEY")}
	if at.url == "" {
		s := embedded(t)
		at.url, at.files, keys = s.Endpoints().API, s.Endpoints().Files, s.Credentials()
	}
	at.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(keys.AccessKey+":"+keys.SecretKey))
	login, err := at.send(t.Context(), "auth.login", nil, "")
	if err != nil || login.code != 200 {
		t.Fatalf("cannot log in at %s: %d/%d %s, %v", at.url, login.code, login.sub, login.msg, err)
	}
	token, _ := login.data.(map[string]any)["token"].(string)
	at.auth = "Bearer " + token
	info, err := at.send(t.Context(), "server.info", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	data, _ := info.data.(map[string]any)
	at.ours = data["build"] == "agentctl"
	t.Logf("server %v %v at %s, embedded: %v", data["version"], data["build"], at.url, at.ours)
	return at
}

// lease is that of the embedded server: one row waits for its end, and no other may take
// so long, on a disk that all tests write to.
const lease = 10 * time.Second

func embedded(t *testing.T) *server.Server {
	t.Helper()
	s, err := server.Open(t.Context(), server.Config{Dir: t.TempDir(), Lease: lease, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// send makes one request, as ClearML's clients do: a GET with a body.
func (at *target) send(ctx context.Context, action string, body []byte, kind string) (a answer, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.url+"/"+action, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	req.Header.Set("Authorization", at.auth)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	var env struct {
		Meta *struct {
			ID   string `json:"id"`
			Code int    `json:"result_code"`
			Sub  int    `json:"result_subcode"`
			Msg  string `json:"result_msg"`
		} `json:"meta"`
		Data any `json:"data"`
	}
	if err := json.Unmarshal(data, &env); err != nil || env.Meta == nil {
		return a, fmt.Errorf("%s: no envelope: %.300s", action, data)
	}
	if env.Meta.Code != resp.StatusCode || env.Meta.ID == "" {
		return a, fmt.Errorf("%s: meta %+v with HTTP status %d", action, env.Meta, resp.StatusCode)
	}
	return answer{env.Meta.Code, env.Meta.Sub, env.Meta.Msg, env.Data}, nil
}
