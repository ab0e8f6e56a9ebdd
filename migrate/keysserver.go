package migrate

import (
	"strings"
)

// keysOfServer are those of the section api.
func keysOfServer() []Row {
	rows := []Row{
		key("api.api_server", "spec.server.url", "", "https://api.example.com", setURL("spec.server.url")),
		key("api.host", "spec.server.url", "An older name of api.api_server.", "https://api.example.com", olderHost),
		key("api.web_server", "spec.server.webUrl", "Left out, it follows from the API server: ports 8008 and 8080 of one host, or api. and app. of one domain.", "https://app.example.com", setURL("spec.server.webUrl")),
		key("api.files_server", "spec.server.filesUrl", "Left out, it follows from the API server: ports 8008 and 8081 of one host, or api. and files. of one domain.", "https://files.example.com", setURL("spec.server.filesUrl")),
		secretKey("api.credentials.access_key", "spec.server.credentialsFile", "The keys are in a file that only the agent reads, each time it logs in: they can be changed while it runs.", "ACCESS", func(t *translation, v any) error {
			return t.take(&t.keys.access, v)
		}),
		secretKey("api.credentials.secret_key", "spec.server.credentialsFile", "As api.credentials.access_key. No task sees the keys: each gets a token of its own.", "SECRET", func(t *translation, v any) error {
			return t.take(&t.keys.secret, v)
		}),
		secretKey("=auth_token", "spec.server.credentialsFile", "A token in place of keys (CLEARML_AUTH_TOKEN).", "TOKEN", func(t *translation, v any) error {
			return t.take(&t.keys.token, v)
		}),
	}
	rows = append(rows, refusedIf(false, "Certificates are always checked. Name the authority that signed the server's: SSL_CERT_FILE of the agent, or the certificates of the machine.", "api.verify_certificate")...)
	rows = append(rows, noop("agentctl speaks the versions of the protocol that the server's token names.", "api.version", "api.default_version", "api.http.default_version")...)
	rows = append(rows, noop("A request is repeated with rising pauses until the server answers, however long it is away; tasks run on.",
		"api.http.retries.total", "api.http.retries.connect", "api.http.retries.read", "api.http.retries.redirect", "api.http.retries.status",
		"api.http.retries.backoff_factor", "api.http.retries.backoff_max", "api.http.wait_on_maintenance_forever")...)
	rows = append(rows, noop("Batches are kept below what the server takes.", "api.http.max_req_size")...)
	rows = append(rows, noop("One node needs few connections, and shares them.", "api.http.pool_maxsize", "api.http.pool_connections")...)
	rows = append(rows, Row{
		Kind: KindKey, Name: "api.http.default_method", Verdict: Refused,
		Why: "Calls that may be repeated go out as GET with a body, all others as POST. A proxy that drops the body of a GET has to let it through.",
		apply: func(_ *translation, v any) error {
			if s, err := textOf(v); err == nil && strings.EqualFold(s, "get") {
				return nothing("is as it is here")
			}
			return refuse("calls that may be repeated go out as GET with a body, all others as POST; have the proxy let the body of a GET through")
		},
	})
	rows = append(rows, noop("A token is renewed when a fifth of its life is left.", "api.auth.token_expiration_threshold_sec", "api.auth.request_token_expiration_sec")...)
	return append(rows, noop("No service on the internet is asked for the machine's address.", "api.public_ip_ping", "api.public_ip_service_urls")...)
}

func setURL(path string) apply {
	return func(t *translation, v any) error {
		s, err := textOf(v)
		if err != nil {
			return err
		}
		t.tree.set(path, strings.TrimRight(s, "/"))
		return nil
	}
}

func olderHost(t *translation, v any) error {
	if t.tree.get("spec.server.url") != nil {
		return nothing("api.api_server counts")
	}
	return setURL("spec.server.url")(t, v)
}
