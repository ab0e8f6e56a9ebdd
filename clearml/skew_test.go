package clearml

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// A clock that is days off on either side costs no more logins than one that is right.
func TestClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{-40 * 24 * time.Hour, -time.Hour, time.Hour, 40 * 24 * time.Hour} {
		f := newFake(t)
		f.now = func() time.Time { return time.Now().Add(skew) }
		c := f.client(nil)
		for range 5 {
			if err := c.Ping(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(f.of("auth.login")); n != 1 {
			t.Errorf("skew of %s: %d logins", skew, n)
		}
	}
}

// What the server speaks is what its token says; without a word it is an old one.
func TestSpeaks(t *testing.T) {
	for api, want := range map[string]bool{"2.34": true, "2.13": true, "3.0": true, "2.12": false, "1.99": false, "": false, "2.x": false, "2.13.1": true} {
		f := newFake(t)
		f.on("auth.login", func(w http.ResponseWriter, _ *http.Request) {
			payload := fmt.Sprintf(`{"iat":1,"exp":99999999999,"api_version":%q}`, api)
			ok(w, map[string]any{"token": "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"})
		})
		if got, err := f.client(nil).Speaks(t.Context(), 2, 13); err != nil || got != want {
			t.Errorf("%q speaks 2.13: %t, %v", api, got, err)
		}
	}
}

// The open server has no tokens of tasks. It is asked once.
func TestTaskTokenOfAServerWithoutThem(t *testing.T) {
	f := newFake(t)
	f.on("auth.task_token", refused(404, 0, "Unable to find endpoint for name auth.task_token and version 2.34"))
	c := f.client(nil)
	for range 3 {
		if text, err := c.TaskToken(t.Context(), "t", time.Hour); err != nil || text == "" {
			t.Fatal(text, err)
		}
	}
	if n := len(f.of("auth.task_token")); n != 1 {
		t.Errorf("asked %d times", n)
	}
}
