package clearml

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a ClearML server whose answers a test writes by hand.
type fake struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	calls   []seen
	answers map[string]http.HandlerFunc
	life    time.Duration // of the tokens it gives
	logins  int
	now     func() time.Time
}

type seen struct{ Method, Action, Body, Authorization string }

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, answers: map[string]http.HandlerFunc{}, life: 24 * time.Hour, now: time.Now}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	action := strings.TrimPrefix(r.URL.Path, "/")
	f.mu.Lock()
	f.calls = append(f.calls, seen{r.Method, action, string(body), r.Header.Get("Authorization")})
	answer := f.answers[action]
	login := answer == nil && action == "auth.login"
	if login {
		f.logins++
	}
	n := f.logins
	f.mu.Unlock()
	switch {
	case login:
		ok(w, map[string]any{"token": token(f.now(), f.life, n)})
	case answer != nil:
		answer(w, r)
	default:
		ok(w, map[string]any{})
	}
}

// on sets the answer of an action.
func (f *fake) on(action string, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[action] = h
}

// of gives the calls of an action so far.
func (f *fake) of(action string) []seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []seen
	for _, c := range f.calls {
		if c.Action == action {
			out = append(out, c)
		}
	}
	return out
}

func (f *fake) client(change func(*Config)) *Client {
	f.t.Helper()
	cfg := Config{
		URL: f.URL,
		Credentials: func(context.Context) (Credentials, error) {
			return Credentials{AccessKey: "key", SecretKey: "s3cr3t"}, nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(c.Close)
	return c
}

func ok(w http.ResponseWriter, data any) { envelopeOf(w, 200, 0, "OK", data) }

func refused(code, sub int, msg string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { envelopeOf(w, code, sub, msg, map[string]any{}) }
}

func answer(data any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { ok(w, data) }
}

func envelopeOf(w http.ResponseWriter, code, sub int, msg string, data any) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"meta": map[string]any{"id": "x", "result_code": code, "result_subcode": sub, "result_msg": msg}, "data": data,
	})
}

// token makes a JWT nobody checks the signature of.
func token(now time.Time, life time.Duration, n int) string {
	payload := fmt.Sprintf(`{"iat":%d,"exp":%d,"n":%d}`, now.Unix(), now.Add(life).Unix(), n)
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

// cutOff answers by closing the connection after the request was read.
func cutOff(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
