package server

import (
	"net/http"
	"time"
)

func authEndpoints() []*endpoint {
	return []*endpoint{
		on("auth.login", login),
		operator(on("auth.task_token", taskToken)),
		on("users.get_current_user", currentUser),
		on("users.get_all", allUsers),
		on("users.get_all_ex", allUsers),
		on("users.get_by_id", userByID),
		anybody(on("server.info", serverInfo)),
		anybody(on("login.supported_modes", loginModes)),
		anybody(on("debug.ping", debugPing)),
	}
}

type loginRequest struct {
	ExpirationSec int64 `json:"expiration_sec"`
}

// login gives a token for keys, or a fresh one for a token. A task's token stays
// one: its scope and its life go over to the new one, whatever life is asked for.
func login(c *call, req *loginRequest) (any, error) {
	life := lifeOf(req.ExpirationSec)
	if have := c.caller.life; have > 0 && (req.ExpirationSec == 0 || c.caller.task != "" && life > have) {
		life = have
	}
	token, err := c.srv.keys.issue(life, c.caller.task)
	if err != nil {
		return nil, err
	}
	cookie := &http.Cookie{Name: cookieName, Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode}
	c.header.Add("Set-Cookie", cookie.String())
	return map[string]any{"token": token}, nil
}

// lifeOf bounds a life before it is multiplied: a hostile number must not wrap.
func lifeOf(sec int64) time.Duration {
	if sec <= 0 {
		return tokenLife
	}
	return time.Duration(min(sec, int64(maxTokenLife/time.Second))) * time.Second
}

type taskTokenRequest struct {
	Task          string `json:"task" need:"1"`
	ExpirationSec int64  `json:"expiration_sec"`
}

func taskToken(c *call, req *taskTokenRequest) (any, error) {
	t, err := getTask(c.read(), req.Task)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, noTask(req.Task)
	}
	token, err := c.srv.keys.issue(lifeOf(req.ExpirationSec), t.ID)
	return map[string]any{"token": token}, err
}

var theUser = map[string]any{
	"id": userID, "name": userName, "given_name": userName, "family_name": "", "role": "admin",
	"company": map[string]any{"id": companyID, "name": companyName}, "avatar": "", "preferences": none{},
}

func currentUser(*call, *none) (any, error) {
	return map[string]any{"user": theUser, "getting_started": none{}, "settings": none{}}, nil
}

func allUsers(*call, *none) (any, error) {
	return map[string]any{"users": []any{map[string]any{"id": userID, "name": userName, "company": companyID}}}, nil
}

func userByID(_ *call, req *struct {
	User string `json:"user" need:"1"`
}) (any, error) {
	if req.User != userID {
		return nil, refuse(400, 301, "Invalid user id: id=%.200s, company=%s", req.User, companyID)
	}
	return map[string]any{"user": theUser}, nil
}

func serverInfo(*call, *none) (any, error) {
	return map[string]any{"version": serverVersion, "build": "agentctl", "api_version": apiVersion, "uid": companyID}, nil
}

func loginModes(*call, *none) (any, error) {
	return map[string]any{
		"basic":         map[string]any{"enabled": false, "guest": map[string]any{"enabled": false}},
		"sso":           none{},
		"sso_providers": []any{},
		"server_errors": map[string]any{"missed_es_upgrade": false, "es_connection_error": false},
		"authenticated": false,
	}, nil
}

func debugPing(*call, *none) (any, error) { return map[string]any{"msg": "pong"}, nil }
