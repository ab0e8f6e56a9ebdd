package envcache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"agentctl/envcache/internal/secret"
)

const (
	helperLimit = 30 * time.Second
	mostAnswer  = 64 << 10
	// tokenUser is who logs in with a token alone: hosts look at the token only.
	tokenUser = "x-oauth-basic"
)

// helper is an operator's program that knows credentials. It runs on the host as
// the agent, with the agent's environment: that is where keyrings and vaults are
// found. What it prints is never shown.
type helper struct {
	command []string
	limit   time.Duration
}

// ask asks for one URL; ok is false if the program knows nothing of it.
func (h helper) ask(ctx context.Context, u *url.URL) (login secret.Login, ok bool, err error) {
	if filepath.Base(h.command[0]) == "keyring" {
		login, ok, err = h.askKeyring(ctx, u)
	} else {
		login, ok, err = h.askGit(ctx, u)
	}
	if err != nil {
		return secret.Login{}, false, fmt.Errorf("cannot get credentials for %s: %w", u.Host, err)
	}
	return login, ok, nil
}

// askGit speaks the protocol of git's credential helpers, git-credential(1).
func (h helper) askGit(ctx context.Context, u *url.URL) (secret.Login, bool, error) {
	question := ""
	for _, kv := range [][2]string{{"protocol", u.Scheme}, {"host", u.Host}, {"path", strings.TrimPrefix(u.Path, "/")}} {
		if strings.ContainsAny(kv[1], "\n\r\x00") {
			// It would be a line of its own, and ask for another host's credentials.
			return secret.Login{}, false, errors.New("the URL holds a line break")
		}
		if kv[1] != "" {
			question += kv[0] + "=" + kv[1] + "\n"
		}
	}
	out, exit, err := h.run(ctx, question+"\n", "get")
	switch {
	case err != nil:
		return secret.Login{}, false, err
	case exit != 0:
		return secret.Login{}, false, h.failed(exit)
	}
	login := parseAnswer(out)
	if login.Password == "" && login.User != "" {
		return secret.Login{}, false, fmt.Errorf("%s gave a user name and no password", h.name())
	}
	if login.Password == "" {
		return secret.Login{}, false, nil
	}
	return withUser(login), true, nil
}

// askKeyring asks the command line of the Python package keyring, which has no
// such protocol; as pip does it, first for the URL, then for its host.
func (h helper) askKeyring(ctx context.Context, u *url.URL) (secret.Login, bool, error) {
	for _, service := range []string{u.String(), u.Host} {
		out, exit, err := h.run(ctx, "", "--mode", "creds", "--output", "json", "get", service)
		switch {
		case err != nil:
			return secret.Login{}, false, err
		case exit == 1 && len(bytes.TrimSpace(out)) == 0:
			continue // how it says that it has none
		case exit != 0:
			return secret.Login{}, false, fmt.Errorf("%w; keyring 25.2 or newer is needed", h.failed(exit))
		}
		var answer struct{ Username, Password string }
		if err := json.Unmarshal(out, &answer); err != nil {
			return secret.Login{}, false, fmt.Errorf("%s did not answer in JSON", h.name())
		}
		if answer.Password != "" {
			return withUser(secret.Login{User: answer.Username, Password: answer.Password}), true, nil
		}
	}
	return secret.Login{}, false, nil
}

func withUser(l secret.Login) secret.Login {
	if l.User == "" {
		l.User = tokenUser
	}
	return l
}

func (h helper) name() string { return filepath.Base(h.command[0]) }

func (h helper) failed(exit int) error {
	return fmt.Errorf("%s ended with exit status %d", h.name(), exit)
}

// run runs the program to its end.
func (h helper) run(ctx context.Context, stdin string, args ...string) ([]byte, int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, h.limit, fmt.Errorf("it did not answer within %s", h.limit))
	defer stop()
	out := &limitedAnswer{over: func() { cancel(fmt.Errorf("it answered more than %d KiB", mostAnswer>>10)) }}
	exit, err := HostExec{}.Run(ctx, Cmd{
		Args: slices.Concat(h.command, args), Dir: "/", Env: append(os.Environ(), "GIT_TERMINAL_PROMPT=0"),
		UID: SameUser, GID: SameUser, Stdin: strings.NewReader(stdin), Stdout: out,
	})
	switch cause := context.Cause(ctx); {
	case cause != nil:
		return nil, 0, fmt.Errorf("%s was stopped: %w", h.name(), cause)
	case err != nil:
		return nil, 0, err
	case exit.Signal != "":
		return nil, 0, fmt.Errorf("%s was ended by a signal: %s", h.name(), exit.Signal)
	}
	return out.text, exit.Code, nil
}

// limitedAnswer keeps what a program prints, up to a limit.
type limitedAnswer struct {
	text []byte
	over func()
}

// Write takes all that comes: whoever is over the limit is ended by over.
func (a *limitedAnswer) Write(p []byte) (int, error) {
	if len(a.text)+len(p) > mostAnswer {
		a.over()
	} else {
		a.text = append(a.text, p...)
	}
	return len(p), nil
}

// parseAnswer reads lines of key=value up to an empty one; the last value of a
// key counts.
func parseAnswer(data []byte) (login secret.Login) {
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		if strings.ContainsRune(line, 0) {
			continue
		}
		switch key, value, _ := strings.Cut(line, "="); key {
		case "username":
			login.User = value
		case "password":
			login.Password = value
		}
	}
	return login
}
