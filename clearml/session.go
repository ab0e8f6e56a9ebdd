package clearml

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
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

	issued time.Time // zero if it does not say
	api    string    // version of the server's API, "" if it does not say
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
		if t := holdGiven(creds.Token, now); now.Before(t.renew) {
			return t, nil
		}
	}
	text, err := s.client.loginToken(ctx, creds, 0)
	if err != nil {
		return heldToken{}, err
	}
	return holdFresh(text, now), nil
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

// holdFresh is a token that the server has just given: its life begins now, by this
// machine's own clock. By the server's clock, one that is days behind would make every
// token look too old, and each request log in before it.
func holdFresh(token string, now time.Time) heldToken {
	t := holdGiven(token, now)
	if life := t.end.Sub(t.issued); !t.issued.IsZero() {
		t.issued, t.end = now, now.Add(life)
		t.renew = now.Add(life - life/5)
	}
	return t
}

// holdGiven works out when a token must be renewed: with a fifth of its life left.
// The end is read without checking the signature, as every ClearML client does:
// only the server has to trust the token. One without an end is renewed hourly.
func holdGiven(token string, now time.Time) heldToken {
	c, ok := readClaims(token)
	t := heldToken{text: token, api: c.API}
	if !ok {
		t.renew, t.end = now.Add(time.Hour), now.Add(time.Hour)
		return t
	}
	t.end = time.Unix(int64(c.Exp), 0)
	if c.Iat > 0 {
		t.issued = time.Unix(int64(c.Iat), 0)
	}
	from := t.issued
	if from.After(now) || from.IsZero() {
		from = now
	}
	t.renew = t.end.Add(-max(0, t.end.Sub(from)) / 5)
	return t
}

// claims are what clients read of a JWT.
type claims struct {
	Iat, Exp float64
	API      string `json:"api_version"`
}

// readClaims reads a token; ok tells that it has an end that makes sense.
func readClaims(token string) (c claims, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || json.Unmarshal(raw, &c) != nil {
		return claims{}, false
	}
	return c, c.Exp > 0 && c.Exp <= 1<<40 && c.Iat >= 0 && c.Iat <= c.Exp
}

// oldestAPI is the version of a server whose token names none.
const oldestAPI = "2.1"

// Speaks tells whether the server's API is of this version or newer, as its token says.
// Like every ClearML client it must know before it sends what an older server ignores.
func (c *Client) Speaks(ctx context.Context, major, minor int) (bool, error) {
	if _, err := c.auth.token(ctx); err != nil {
		return false, err
	}
	c.auth.mu.Lock()
	api := cmp.Or(c.auth.held.api, oldestAPI)
	c.auth.mu.Unlock()
	has, rest, _ := strings.Cut(api, ".")
	rest, _, _ = strings.Cut(rest, ".")
	a, aerr := strconv.Atoi(has)
	b, berr := strconv.Atoi(rest)
	known := aerr == nil && berr == nil
	return known && (a > major || a == major && b >= minor), nil
}

// minTaskToken is the least life of a task's token: the SDK logs in again before
// each request with less than an hour left, clearml-agent with less than twelve.
const minTaskToken = 13 * time.Hour

// TaskToken returns a token for the process of one task. The embedded server
// gives one that reaches this task alone; a ClearML Server has no such thing and
// gives a login token of this client's own user, with an end.
func (c *Client) TaskToken(ctx context.Context, task string, life time.Duration) (string, error) {
	life = max(life, minTaskToken)
	if c.noTaskToken.Load() {
		return c.userToken(ctx, life)
	}
	var resp struct {
		Token string `json:"token"`
	}
	err := c.Read(ctx, "auth.task_token", map[string]any{"task": task, "expiration_sec": int64(life / time.Second)}, &resp)
	if err == nil && resp.Token == "" {
		return "", &Unreachable{Action: "auth.task_token", Err: errors.New("the reply holds no token")}
	}
	if !is(err, http.StatusNotFound) {
		return resp.Token, err
	}
	c.noTaskToken.Store(true)
	return c.userToken(ctx, life)
}

// userToken logs in for somebody else's use.
func (c *Client) userToken(ctx context.Context, life time.Duration) (string, error) {
	creds, err := c.cfg.Credentials(ctx)
	if err != nil {
		return "", &Unreachable{Action: "auth.login", Err: fmt.Errorf("cannot read the credentials: %w", err)}
	}
	return c.loginToken(ctx, creds, life)
}
