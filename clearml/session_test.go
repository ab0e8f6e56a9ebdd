package clearml

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestOneLoginForMany(t *testing.T) {
	f := newFake(t)
	c := f.client(nil)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := c.Ping(t.Context(), "t"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	logins := f.of("auth.login")
	if len(logins) != 1 || logins[0].Authorization != "Basic "+base64.StdEncoding.EncodeToString([]byte("key:s3cr3t")) {
		t.Errorf("%d logins: %+v", len(logins), logins)
	}
	if call := f.of("tasks.ping")[0]; !strings.HasPrefix(call.Authorization, "Bearer e30.") {
		t.Errorf("%+v", call)
	}
}

// A token is renewed well before its end, with the keys as they are then, and
// when that fails the old one goes on being used.
func TestRenewal(t *testing.T) {
	f := newFake(t)
	var offset atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	f.now, f.life = now, 10*time.Hour
	var secret atomic.Value
	secret.Store("first")
	c := f.client(func(cfg *Config) {
		cfg.Now = now
		cfg.Credentials = func(context.Context) (Credentials, error) {
			return Credentials{AccessKey: "k", SecretKey: secret.Load().(string)}, nil
		}
	})
	ping := func(wantLogins int) {
		t.Helper()
		if err := c.Ping(t.Context(), "t"); err != nil {
			t.Error(err)
		}
		if n := len(f.of("auth.login")); n != wantLogins {
			t.Errorf("%d logins, want %d", n, wantLogins)
		}
	}
	ping(1)
	offset.Store(int64(7 * time.Hour))
	ping(1)
	secret.Store("second")
	offset.Store(int64(8*time.Hour + time.Minute))
	ping(2)
	if last := f.of("auth.login")[1].Authorization; last != "Basic "+base64.StdEncoding.EncodeToString([]byte("k:second")) {
		t.Errorf("rotated keys not used: %s", last)
	}
	f.on("auth.login", refused(401, 22, "bad key"))
	offset.Store(int64(17 * time.Hour)) // the second token is near its end
	ping(3)
	ping(3) // and login is not tried with every call
	offset.Store(int64(19 * time.Hour))
	if err := c.Ping(t.Context(), "t"); !IsUnauthorized(err) {
		t.Errorf("after the end of the last token: %v", err)
	}
}

func TestRefusedTokenIsRenewedOnce(t *testing.T) {
	f := newFake(t)
	c := f.client(nil)
	var n atomic.Int32
	f.on("tasks.started", func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 1 {
			envelopeOf(w, 401, 30, "invalid token", nil)
			return
		}
		ok(w, nil)
	})
	if err := c.Started(t.Context(), "t", "", "", false); err != nil || len(f.of("auth.login")) != 2 {
		t.Errorf("%v after %d logins", err, len(f.of("auth.login")))
	}
	f.on("tasks.started", refused(401, 30, "invalid token"))
	if err := c.Started(t.Context(), "t", "", "", false); !IsUnauthorized(err) || len(f.of("tasks.started")) != 4 {
		t.Errorf("%v after %d calls", err, len(f.of("tasks.started")))
	}
}

func TestSecretsStayOutOfErrors(t *testing.T) {
	f := newFake(t)
	for _, h := range []http.HandlerFunc{cutOff, refused(401, 22, "no"), answer(map[string]any{}), answer(map[string]any{"token": 5})} {
		f.on("auth.login", h)
		err := f.client(func(c *Config) { c.Attempts = 1 }).Ping(t.Context(), "t")
		if err == nil || strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), "czNjcjN0") {
			t.Errorf("got %v", err)
		}
	}
	missing := errors.New("no such file")
	c := f.client(func(c *Config) {
		c.Credentials = func(context.Context) (Credentials, error) { return Credentials{}, missing }
	})
	if err := c.Ping(t.Context(), "t"); !errors.Is(err, missing) || IsRefused(err) {
		t.Errorf("unreadable credentials: %v", err)
	}
}

func TestHandedInToken(t *testing.T) {
	f := newFake(t)
	given := token(time.Now(), 24*time.Hour, 99)
	c := f.client(func(cfg *Config) {
		cfg.Credentials = func(context.Context) (Credentials, error) { return Credentials{Token: given}, nil }
	})
	if err := c.Ping(t.Context(), "t"); err != nil || len(f.of("auth.login")) != 0 || f.of("tasks.ping")[0].Authorization != "Bearer "+given {
		t.Errorf("%v, %d logins", err, len(f.of("auth.login")))
	}
}

// The embedded server gives a token for one task, a ClearML Server a login token.
func TestTaskToken(t *testing.T) {
	f := newFake(t)
	c := f.client(nil)
	f.on("auth.task_token", answer(map[string]any{"token": "for the task"}))
	if got, err := c.TaskToken(t.Context(), "t", time.Hour); err != nil || got != "for the task" {
		t.Errorf("%q %v", got, err)
	}
	if body := f.of("auth.task_token")[0].Body; body != `{"expiration_sec":46800,"task":"t"}` {
		t.Errorf("too short a life: %s", body)
	}
	f.on("auth.task_token", refused(404, 0, "Unable to find endpoint"))
	got, err := c.TaskToken(t.Context(), "t", 20*time.Hour)
	logins := f.of("auth.login")
	if err != nil || !strings.HasPrefix(got, "e30.") || logins[len(logins)-1].Body != `{"expiration_sec":72000}` {
		t.Errorf("%q %v %+v", got, err, logins)
	}
}
