package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"agentctl/clearml"
)

// readCredentials reads the keys to a server from a file. It is done for each
// login, so that keys rotate live.
func readCredentials(path string) (clearml.Credentials, error) {
	if path == "" {
		return clearml.Credentials{}, errors.New("no credentials for the server: write spec.server.credentialsFile")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return clearml.Credentials{}, fmt.Errorf("cannot read the server's credentials: %w", err)
	}
	keys, err := parseCredentials(data)
	if err != nil {
		return keys, fmt.Errorf("cannot use %s: %w", path, err)
	}
	return keys, nil
}

// A key with its value as a shell, an environment file and a clearml.conf (HOCON) write
// it. What begins with # or // is a comment.
var (
	accessKey = keyOf("access_key")
	secretKey = keyOf("secret_key")
	authToken = keyOf("auth_token")
	comment   = regexp.MustCompile(`(?m)^\s*(#|//).*$`)
)

// keyOf finds a key by its whole name: the file may hold keys of others, as
// AWS_SECRET_ACCESS_KEY.
func keyOf(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:^|[^a-z0-9_]|(?:clearml|trains)_(?:api_)?)` + name + `["']?\s*[:=]\s*(?:("(?:[^"\\\n]|\\.)*")|'([^'\n]*)'|([^\s"',{}]+))`)
}

// parseCredentials reads what agentctl writes, JSON; else it finds the first access_key
// and the first secret_key, or an auth_token in place of them. An error says nothing of
// what the file holds.
func parseCredentials(data []byte) (clearml.Credentials, error) {
	var whole struct {
		Access string `json:"access_key"`
		Secret string `json:"secret_key"`
		Token  string `json:"auth_token"`
	}
	keys := clearml.Credentials{}
	if json.Unmarshal(data, &whole) == nil {
		keys = clearml.Credentials{AccessKey: whole.Access, SecretKey: whole.Secret, Token: whole.Token}
	}
	if text := comment.ReplaceAllString(string(data), ""); keys == (clearml.Credentials{}) {
		keys = clearml.Credentials{AccessKey: valueOf(accessKey, text), SecretKey: valueOf(secretKey, text), Token: valueOf(authToken, text)}
	}
	if keys.Token != "" {
		return keys, nil
	}
	if keys.AccessKey == "" || keys.SecretKey == "" {
		return clearml.Credentials{}, errors.New("it names no access_key or no secret_key; write them as `access_key = …` and `secret_key = …`")
	}
	return keys, nil
}

func valueOf(key *regexp.Regexp, text string) string {
	m := key.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	var plain string
	if m[1] != "" && json.Unmarshal([]byte(m[1]), &plain) == nil {
		return plain
	}
	return strings.Trim(m[1], `"`) + m[2] + m[3]
}
