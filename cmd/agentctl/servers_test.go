package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentctl/spec"
	"agentctl/worker"
)

func credentialsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The forms that people have at hand: ours, the SDK's variables, a clearml.conf.
func TestCredentialsInEveryForm(t *testing.T) {
	for about, text := range map[string]string{
		"json":      `{"access_key": "A1", "secret_key": "S=1"}`,
		"lines":     "access_key = A1\nsecret_key = S=1\n",
		"variables": "# keys\nexport CLEARML_API_ACCESS_KEY=A1\nexport CLEARML_API_SECRET_KEY=\"S=1\"\n",
		"conf":      "api {\n  credentials {\n    \"access_key\" = \"A1\"\n    \"secret_key\" = \"S=1\"\n  }\n}\n",
		"colons":    "api {\n  credentials {\n    access_key: \"A1\"\n    secret_key: \"S=1\",\n  }\n}\n",
		"one line":  `api { credentials { access_key: "A1", secret_key: "S=1" } }`,
	} {
		keys, err := readCredentials(credentialsFile(t, text))
		if err != nil || keys.AccessKey != "A1" || keys.SecretKey != "S=1" {
			t.Errorf("%s: %+v, %v", about, keys, err)
		}
	}
}

// Keys are what they are, whatever characters are in them, and whatever else is in the file.
func TestCredentialsWithOddCharacters(t *testing.T) {
	const access, secret = `a,b{c}'d`, `e "f" <&> \ #g`
	written, err := json.Marshal(map[string]string{"access_key": access, "secret_key": secret})
	if err != nil {
		t.Fatal(err)
	}
	for about, text := range map[string]string{
		"json": string(written),
		"conf": `api.credentials { access_key: "a,b{c}'d", secret_key: "e \"f\" <&> \\ #g" } // "`,
		"beside others": "AWS_SECRET_ACCESS_KEY=x\naws_secret_key=y\nCLEARML_API_ACCESS_KEY=\"a,b{c}'d\"\n" +
			"TRAINS_API_SECRET_KEY='" + secret + "'\n",
	} {
		keys, err := readCredentials(credentialsFile(t, text))
		if err != nil || keys.AccessKey != access || keys.SecretKey != secret {
			t.Errorf("%s: %+v, %v", about, keys, err)
		}
	}
}

func TestCredentialsThatAreNone(t *testing.T) {
	for _, text := range []string{"", "hunter2", "access_key=A1", `{"access_key": 1}`} {
		_, err := readCredentials(credentialsFile(t, text))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := readCredentials(""); err == nil || !strings.Contains(err.Error(), "credentialsFile") {
		t.Errorf("no file: %v", err)
	}
}

func FuzzCredentials(f *testing.F) {
	for _, seed := range []string{"", "access_key=a\nsecret_key=b", `{"access_key":"a","secret_key":"b"}`, "api{credentials{access_key:\"", "secret_key\x00="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := parseCredentials([]byte(text))
		if err == nil && keys.Token == "" && (keys.AccessKey == "" || keys.SecretKey == "") {
			t.Errorf("%q gave half of the keys", text)
		}
		if quoted := strings.ContainsAny(text, "\"'"); !quoted && strings.ContainsAny(keys.AccessKey+keys.SecretKey, " \t\r\n") {
			t.Errorf("%q gave %+v", text, keys)
		}
	})
}

func TestEndpointsOfAServer(t *testing.T) {
	for api, want := range map[string]worker.Endpoints{
		"http://h:8008":           {Web: "http://h:8080", Files: "http://h:8081"},
		"https://api.example.com": {Web: "https://app.example.com", Files: "https://files.example.com"},
		"https://ml.example.com":  {Web: "https://ml.example.com", Files: "https://ml.example.com"},
	} {
		want.API = api
		if got := endpointsOf(spec.Server{URL: api}); got != want {
			t.Errorf("%s: %+v", api, got)
		}
	}
	named := spec.Server{URL: "https://api.example.com", FilesURL: "https://store.example.com:9000/x"}
	want := worker.Endpoints{API: named.URL, Web: "https://app.example.com", Files: named.FilesURL}
	if got := endpointsOf(named); got != want {
		t.Errorf("with a file server of its own: %+v", got)
	}
}

func TestServerPorts(t *testing.T) {
	for listen, want := range map[string][3]int{
		"127.0.0.1:8008": {8008, 8081, 8080}, "0.0.0.0:9000": {9000, 9002, 9001}, "[::1]:0": {0, 0, 0},
	} {
		cfg, err := serverPorts(listen)
		if got := [3]int{cfg.APIPort, cfg.FilesPort, cfg.WebPort}; err != nil || got != want {
			t.Errorf("%s: %v, %v", listen, got, err)
		}
	}
	for _, listen := range []string{"", "8008", "h:x", "h:65535", "h:-1"} {
		if _, err := serverPorts(listen); err == nil {
			t.Errorf("%q was taken", listen)
		}
	}
}

// What node.yaml says about consoles reaches the embedded server's folder, and a
// limit that was taken out is gone there too.
func TestRetentionReachesTheServer(t *testing.T) {
	s := &servers{app: &app{state: t.TempDir()}, log: slog.New(slog.DiscardHandler)}
	for _, want := range []string{`{"log_age":3600000000000,"log_bytes":1048576}`, `{}`} {
		sv := spec.Server{}
		if want != `{}` {
			sv = spec.Server{LogAge: spec.Duration(time.Hour), LogSize: 1 << 20}
		}
		s.retain(sv)
		data, err := os.ReadFile(filepath.Join(s.serverFolder(), "retention.json"))
		if got := strings.Join(strings.Fields(string(data)), ""); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}
