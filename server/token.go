package server

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The one user and the one company of an embedded server.
const (
	companyID   = "a9e7c710000000000000000000000001"
	companyName = "agentctl"
	userID      = "a9e7c710000000000000000000000002"
	userName    = "agentctl"
)

// What the server says it is. The SDK's feature gates follow apiVersion.
const (
	apiVersion    = "2.34"
	serverVersion = "2.3.0"
	featureSet    = "basic"
)

// Lives of tokens. clearml-agent logs in again before each request with less
// than 12 hours left, so no token is shorter than 13.
const (
	tokenLife    = 30 * 24 * time.Hour
	minTokenLife = 13 * time.Hour
	maxTokenLife = 10 * 365 * 24 * time.Hour
)

type identity struct {
	User        string `json:"user"`
	UserName    string `json:"user_name"`
	Company     string `json:"company"`
	CompanyName string `json:"company_name"`
	Role        string `json:"role"`
}

// claims are what a token says. Task makes it a token for one task alone.
type claims struct {
	jwt.RegisteredClaims
	AuthType      string   `json:"auth_type"`
	APIVersion    string   `json:"api_version"`
	ServerVersion string   `json:"server_version"`
	ServerBuild   string   `json:"server_build"`
	FeatureSet    string   `json:"feature_set"`
	Env           string   `json:"env"`
	Identity      identity `json:"identity"`
	Task          string   `json:"agentctl_task,omitempty"`
}

// caller is who sent a request.
type caller struct {
	// task is set for the process of one task: see access.go.
	task string
	// life is that of the caller's token; 0 for keys.
	life time.Duration
}

// keyring signs and checks tokens and keys.
type keyring struct {
	creds Credentials
	key   []byte
	now   func() time.Time

	mu    sync.Mutex
	known map[string]knownToken // checked tokens: a signature costs more than a lookup
}

type knownToken struct {
	caller caller
	end    time.Time
}

const maxKnown = 1024

// issue signs a token; task is empty for the operator's.
func (k *keyring) issue(life time.Duration, task string) (string, error) {
	now := k.now()
	life = min(max(life, minTokenLife), maxTokenLife)
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life))},
		AuthType:         "Bearer", APIVersion: apiVersion, ServerVersion: serverVersion, ServerBuild: "agentctl",
		FeatureSet: featureSet, Env: "<unknown>", Task: task,
		Identity: identity{User: userID, UserName: userName, Company: companyID, CompanyName: companyName, Role: "admin"},
	}
	if task != "" {
		c.Identity.Role = "user"
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(k.key)
}

var (
	errNoCredentials = refuse(401, 20, "Unauthorized (missing credentials)")
	errBadKey        = refuse(401, 22, "Unauthorized (invalid credentials): failed to locate provided credentials")
	errBadToken      = refuse(401, 30, "Unauthorized (invalid token)")
)

// authorize tells who sent a request, by its Authorization header or, where the
// endpoint allows it, by the cookie that a login sets.
func (k *keyring) authorize(r *http.Request, cookie bool) (caller, error) {
	kind, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(kind, "Bearer"):
		return k.token(strings.TrimSpace(value))
	case strings.EqualFold(kind, "Basic"):
		access, secret, ok := r.BasicAuth()
		if !ok || !k.creds.match(access, secret) {
			return caller{}, errBadKey
		}
		return caller{}, nil
	case kind != "":
		return caller{}, errNoCredentials
	}
	if c, err := r.Cookie(cookieName); cookie && err == nil {
		return k.token(c.Value)
	}
	return caller{}, errNoCredentials
}

const cookieName = "clearml_token_basic"

// token checks a token's signature and life.
func (k *keyring) token(text string) (caller, error) {
	k.mu.Lock()
	known, ok := k.known[text]
	k.mu.Unlock()
	if ok && k.now().Before(known.end) {
		return known.caller, nil
	}
	var c claims
	_, err := jwt.ParseWithClaims(text, &c,
		func(*jwt.Token) (any, error) { return k.key, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(k.now))
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return caller{}, refuse(401, 30, "Unauthorized (invalid token) (token expired)")
	case err != nil:
		return caller{}, errBadToken
	}
	who := caller{task: c.Task}
	if c.IssuedAt != nil {
		who.life = c.ExpiresAt.Sub(c.IssuedAt.Time)
	}
	k.remember(text, knownToken{who, c.ExpiresAt.Time})
	return who, nil
}

func (k *keyring) remember(text string, t knownToken) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil || len(k.known) >= maxKnown {
		k.known = map[string]knownToken{}
	}
	k.known[text] = t
}
