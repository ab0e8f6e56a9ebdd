package migrate

import (
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// The files of secrets, by what they hold.
const (
	fileServer = "clearml.credentials" // keys of the ClearML server
	fileGit    = "git.netrc"
	fileIndex  = "index.netrc"
	fileAgent  = "agent.env" // variables that the agent is to be started with
)

// login is a user with a password.
type login struct{ user, password string }

// serverKeys are what the agent logs in to its server with.
type serverKeys struct{ access, secret, token string }

// gitLogins are those of git hosts.
type gitLogins struct {
	user, password, host string
	asIs                 bool // addresses of ssh stay what they are
	extra                []hostLogin
}

type hostLogin struct {
	host string
	login
}

// finish makes of what several keys say together the fields that it becomes.
func (t *translation) finish() {
	if k := t.keys; k.token != "" || k.access != "" && k.secret != "" {
		t.tree.set("spec.server.credentialsFile", t.opts.Path(fileServer))
	} else if k.access+k.secret != "" {
		t.lost("spec.server.credentialsFile", "the access_key or the secret_key is missing: the agent needs both")
	}
	if len(t.logins()) > 0 {
		t.tree.set("spec.git.credentialsFile", t.opts.Path(fileGit))
		if t.git.password != "" && !t.git.asIs && t.tree.get("spec.git.protocol") == nil && isField("spec.git.protocol") {
			t.tree.set("spec.git.protocol", "https")
		}
	} else {
		t.lost("spec.git.credentialsFile", "there is no agent.git_pass to it")
	}
	if len(t.index) > 0 {
		t.tree.set("spec.packageManager.indexCredentialsFile", t.opts.Path(fileIndex))
	}
	// A path may be one that node.yaml can't name.
	if err := t.valid(t.tree); err != nil {
		t.note(Note{Name: "files of secrets", Verdict: Refused, Text: err.Error()})
		for _, field := range []string{"server", "git", "packageManager"} {
			if m, ok := t.tree.get("spec." + field).(map[string]any); ok {
				delete(m, "credentialsFile")
				delete(m, "indexCredentialsFile")
			}
		}
		t.keys, t.git, t.index = serverKeys{}, gitLogins{}, nil
	}
}

// lost takes back what was told of keys and variables that are of no use alone.
func (t *translation) lost(target, why string) {
	for i, n := range t.notes {
		if n.Target == target && n.Verdict == Mapped {
			t.notes[i].Verdict, t.notes[i].Target, t.notes[i].Text = Refused, "", why
		}
	}
}

// logins of git hosts, in the order in which they count. The one without a host is for
// all others.
func (t *translation) logins() []hostLogin {
	all := slices.Clone(t.git.extra)
	if t.git.password != "" {
		user := t.git.user
		if user == "" {
			user = "git" // servers that take a token look at no user
		}
		all = append(all, hostLogin{t.git.host, login{user, t.git.password}})
	}
	return all
}

// secrets are the files of what was found.
func (t *translation) secrets() []Secret {
	var out []Secret
	add := func(name, content string) {
		if content != "" {
			out = append(out, Secret{name, []byte(content)})
		}
	}
	add(fileServer, t.keys.json())
	add(fileGit, netrc(t.logins()))
	var index []hostLogin
	for _, host := range slices.Sorted(maps.Keys(t.index)) {
		index = append(index, hostLogin{host, t.index[host]})
	}
	add(fileIndex, netrc(index))
	var env strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t.agent)) {
		env.WriteString(name + "='" + t.agent[name] + "'\n")
	}
	add(fileAgent, env.String())
	return out
}

func (k serverKeys) json() string {
	fields := map[string]string{"access_key": k.access, "secret_key": k.secret}
	switch {
	case k.token != "":
		fields = map[string]string{"auth_token": k.token}
	case k.access == "" || k.secret == "":
		return ""
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return ""
	}
	return string(data) + "\n"
}

// netrc writes logins, the one for all other hosts last.
func netrc(all []hostLogin) string {
	var named, rest strings.Builder
	for _, l := range all {
		b, head := &named, "machine "+l.host
		if l.host == "" {
			b, head = &rest, "default"
		}
		b.WriteString(head + " login " + quoted(l.user) + " password " + quoted(l.password) + "\n")
	}
	return named.String() + rest.String()
}

var quoting = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// quoted is a value as envcache reads it in a netrc file.
func quoted(v string) string {
	if v == "" || strings.ContainsAny(v, "\"\\") || strings.ContainsFunc(v, unicode.IsSpace) || strings.HasPrefix(v, "#") {
		return `"` + quoting.Replace(v) + `"`
	}
	return v
}

// storable refuses what a line of a netrc file can't hold.
func storable(values ...string) error {
	for _, v := range values {
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return refuse("it has characters that no file of logins can hold")
		}
	}
	return nil
}

var secretName = regexp.MustCompile(`(?i)secret|passw|passphrase|token|credential|apikey|connection_?string|(api|account|access|private|storage|encryption)_key|(^|_)(pass|pwd|pat|key|auth|sas|dsn|jwt)$`)

// variable gives a task of every worker a variable. One that may be secret is taken
// from the agent's own environment, for which it is noted.
func (t *translation) variable(plain, fromAgent, name, value string) error {
	_, err := url.ParseRequestURI(value)
	inURL := err == nil && strings.Contains(value, "@")
	if !secretName.MatchString(name) && !inURL {
		t.tree.put(plain, name, value)
		return nil
	}
	return t.fromAgent(fromAgent, name, value)
}

// fromAgent has tasks get a variable of the agent's environment.
func (t *translation) fromAgent(list, name, value string) error {
	if strings.ContainsAny(value, "'\n\r\x00") {
		return refuse("it has a quote or a line break: put it into the agent's environment yourself, and its name into %s", list)
	}
	if was, known := t.agent[name]; known && was != value {
		return refuse("it has another value elsewhere in the configuration, and the agent's environment holds one for all")
	}
	t.tree.add(list, name)
	if err := t.valid(t.tree); err != nil {
		return err
	}
	t.agent[name] = value
	t.say("it may be a secret: start the agent with the variables of " + fileAgent + " (systemd: EnvironmentFile=)")
	return nil
}
