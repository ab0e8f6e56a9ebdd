package clearml

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// session holds the token of a client and renews it.
type session struct {
	client *Client

	mu   sync.Mutex // guards held and busy
	held heldToken
	busy chan struct{} // closed when the login under way has ended; nil without one
	err  error         // how that login ended
}

type heldToken struct {
	text  string
	renew time.Time // from when on a new one is fetched
	end   time.Time
}

// token returns a token that is good for a while, logging in when there is none
// or when a fifth of its life is left. Callers that come together share one login.
func (s *session) token(ctx context.Context) (string, error) {
	for {
		s.mu.Lock()
		now := s.client.cfg.Now()
		if s.held.text != "" && now.Before(s.held.renew) {
			defer s.mu.Unlock()
			return s.held.text, nil
		}
		if s.busy == nil {
			return s.login(ctx) // unlocks
		}
		busy := s.busy
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return "", &Unreachable{Action: "auth.login", Err: context.Cause(ctx)}
		case <-busy:
		}
		s.mu.Lock()
		err := s.err
		s.mu.Unlock()
		// Whoever waited for a login that failed fails with it, unless it failed
		// because its own caller went away.
		if err != nil && !errors.Is(err, context.Canceled) {
			return "", err
		}
	}
}

// login fetches a token. It is entered with the mutex held and leaves without.
func (s *session) login(ctx context.Context) (string, error) {
	old := s.held
	s.busy = make(chan struct{})
	s.mu.Unlock()
	fresh, err := s.fetch(ctx, old)

	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && old.text != "" && s.client.cfg.Now().Before(old.end) {
		// The old token is still good; try again in a minute.
		s.client.cfg.Log.Warn("token not renewed, using the old one", "error", err)
		old.renew = s.client.cfg.Now().Add(time.Minute)
		fresh, err = old, nil
	}
	if err == nil {
		s.held = fresh
	}
	s.err = err
	close(s.busy)
	s.busy = nil
	return fresh.text, err
}

// forget drops the token, after the server has refused it.
func (s *session) forget() {
	s.mu.Lock()
	s.held = heldToken{}
	s.mu.Unlock()
}

// fetch logs in with the credentials as they are now.
func (s *session) fetch(ctx context.Context, old heldToken) (heldToken, error) {
	creds, err := s.client.cfg.Credentials(ctx)
	if err != nil {
		return heldToken{}, &Unreachable{Action: "auth.login", Err: fmt.Errorf("cannot read the credentials: %w", err)}
	}
	now := s.client.cfg.Now()
	if creds.Token != "" && old.text == "" {
		// A token that was handed in is used as it is until it nears its end.
		if t := hold(creds.Token, now); now.Before(t.renew) {
			return t, nil
		}
	}
	text, err := s.client.loginToken(ctx, creds, 0)
	if err != nil {
		return heldToken{}, err
	}
	return hold(text, now), nil
}

// loginToken is one auth.login. life is how long the token shall be good, 0 for
// the server's own choice.
func (c *Client) loginToken(ctx context.Context, creds Credentials, life time.Duration) (string, error) {
	var req struct {
		ExpirationSec int64 `json:"expiration_sec,omitempty"`
	}
	req.ExpirationSec = int64(life / time.Second)
	var resp struct {
		Token string `json:"token"`
	}
	err := c.call(ctx, call{action: "auth.login", body: req, resp: &resp, repeatable: true, login: &creds})
	if err != nil {
		return "", err
	}
	if resp.Token == "" {
		return "", &Unreachable{Action: "auth.login", Err: errors.New("the reply holds no token")}
	}
	return resp.Token, nil
}

// hold works out when a token must be renewed: with a fifth of its life left.
// The end is read without checking the signature, as every ClearML client does:
// only the server has to trust the token. One without an end is renewed hourly.
func hold(token string, now time.Time) heldToken {
	issued, end, ok := tokenLife(token)
	if !ok {
		return heldToken{token, now.Add(time.Hour), now.Add(time.Hour)}
	}
	if issued.After(now) || issued.IsZero() {
		issued = now
	}
	return heldToken{token, end.Add(-max(0, end.Sub(issued)) / 5), end}
}

// tokenLife reads iat and exp of a JWT.
func tokenLife(token string) (issued, end time.Time, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return issued, end, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return issued, end, false
	}
	var claims struct{ Iat, Exp float64 }
	if json.Unmarshal(raw, &claims) != nil || claims.Exp <= 0 || claims.Exp > 1<<40 || claims.Iat < 0 || claims.Iat > claims.Exp {
		return issued, end, false
	}
	if claims.Iat > 0 {
		issued = time.Unix(int64(claims.Iat), 0)
	}
	return issued, time.Unix(int64(claims.Exp), 0), true
}

// minTaskToken is the least life of a task's token: the SDK logs in again before
// each request with less than an hour left, clearml-agent with less than twelve.
const minTaskToken = 13 * time.Hour

// TaskToken returns a token for the process of one task. The embedded server
// gives one that reaches this task alone; a ClearML Server has no such thing and
// gives a login token of this client's own user, with an end.
func (c *Client) TaskToken(ctx context.Context, task string, life time.Duration) (string, error) {
	life = max(life, minTaskToken)
	var resp struct {
		Token string `json:"token"`
	}
	err := c.Read(ctx, "auth.task_token", map[string]any{"task": task, "expiration_sec": int64(life / time.Second)}, &resp)
	if err == nil && resp.Token == "" {
		return "", &Unreachable{Action: "auth.task_token", Err: errors.New("the reply holds no token")}
	}
	if !is(err, 404) {
		return resp.Token, err
	}
	creds, err := c.cfg.Credentials(ctx)
	if err != nil {
		return "", &Unreachable{Action: "auth.login", Err: fmt.Errorf("cannot read the credentials: %w", err)}
	}
	return c.loginToken(ctx, creds, life)
}
