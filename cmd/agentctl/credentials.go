package main

import (
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

// A key with its value as JSON, a shell, an environment file and a clearml.conf
// (HOCON) write it. What begins with # or // is a comment.
var (
	accessKey = keyOf("access_key")
	secretKey = keyOf("secret_key")
	authToken = keyOf("auth_token")
	comment   = regexp.MustCompile(`(?m)^\s*(#|//).*$`)
)

func keyOf(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)` + name + `["']?\s*[:=]\s*["']?([^\s"',{}]+)`)
}

// parseCredentials finds the first access_key and the first secret_key, or an
// auth_token in place of them. An error
// says nothing of what the file holds.
func parseCredentials(data []byte) (clearml.Credentials, error) {
	text := comment.ReplaceAllString(string(data), "")
	find := func(key *regexp.Regexp) string {
		if m := key.FindStringSubmatch(text); m != nil {
			return strings.TrimSpace(m[1])
		}
		return ""
	}
	keys := clearml.Credentials{AccessKey: find(accessKey), SecretKey: find(secretKey), Token: find(authToken)}
	if keys.Token != "" {
		return keys, nil
	}
	if keys.AccessKey == "" || keys.SecretKey == "" {
		return clearml.Credentials{}, errors.New("it names no access_key or no secret_key; write them as `access_key = …` and `secret_key = …`")
	}
	return keys, nil
}
