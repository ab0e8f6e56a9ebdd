package conformance

import (
	"encoding/base64"
	"testing"
)

// Who is refused for which reason.
func TestCredentials(t *testing.T) {
	at := theTarget(t)
	for name, row := range map[string]struct {
		auth, action string
		code, sub    int
	}{
		"none":             {"", "tasks.get_all", 401, 20},
		"a bad key":        {"Basic " + base64.StdEncoding.EncodeToString([]byte("nobody:nothing")), "auth.login", 401, 22},
		"a bad token":      {"Bearer a.b.c", "tasks.get_all", 401, 30},
		"none for anybody": {"", "debug.ping", 200, 0},
	} {
		other := *at
		other.auth = row.auth
		a := other.call(t, row.action, map[string]any{})
		if a.code != row.code || a.sub != row.sub {
			t.Errorf("%s: got %d/%d %s, want %d/%d", name, a.code, a.sub, a.msg, row.code, row.sub)
		}
	}
}

// A token gives another one.
func TestTokenIsRenewed(t *testing.T) {
	at := theTarget(t)
	a := at.call(t, "auth.login", map[string]any{})
	data, _ := a.data.(map[string]any)
	token, _ := data["token"].(string)
	other := *at
	other.auth = "Bearer " + token
	if got := other.call(t, "users.get_current_user", map[string]any{}); got.code != 200 {
		t.Errorf("the new token: %d/%d %s", got.code, got.sub, got.msg)
	}
}
