package migrate

import (
	"net/url"
	"strings"
)

const gitWhy = "Users and passwords are in a netrc file that only the agent reads; git gets them by no argument, and no task does."

// keysOfGit are about repositories.
func keysOfGit() []Row {
	rows := []Row{
		key("agent.git_host", "spec.git.credentialsFile", "The login is for this host alone; without it, for every host.", "git.example.com", func(t *translation, v any) error {
			host, err := gitHost(v)
			if err == nil {
				t.git.host, t.touched = host, true
			}
			return err
		}),
		secretKey("agent.git.extra_credentials", "spec.git.credentialsFile", gitWhy, []any{map[string]any{"user": "u", "pass": "p", "host": "git.example.com"}}, extraLogins),
		secretKey("agent.git_user", "spec.git.credentialsFile", gitWhy, "me", func(t *translation, v any) error { return t.take(&t.git.user, v) }),
		secretKey("agent.git_pass", "spec.git.credentialsFile", gitWhy+" A token is a password.", "secret", func(t *translation, v any) error { return t.take(&t.git.password, v) }),
		key("agent.force_git_ssh_protocol", "spec.git.protocol", "", true, setIf("spec.git.protocol", "ssh")),
		key("agent.force_git_ssh_port", "spec.git.sshPort", "", 2222.0, func(t *translation, v any) error {
			n, err := wholeOf(v)
			if err == nil && n != 0 {
				t.tree.set("spec.git.sshPort", n)
			}
			return err
		}),
		key("agent.force_git_ssh_user", "spec.git.sshUser", "", "me", func(t *translation, v any) error {
			s, err := textOf(v)
			if err == nil && s != "git" {
				t.tree.set("spec.git.sshUser", s)
			}
			return err
		}),
		key("agent.translate_ssh", "spec.git.protocol", "On, which it is by itself, and with a user and a password, addresses of ssh are taken by https.", false, translateSSH),
	}
	rows = append(rows, refusedIf(true, "A login is for a host, not for a part of its addresses. Name a program that knows more in spec.git.credentialsCommand.", "agent.git_host_match_prefix")...)
	rows = append(rows, refusedIf(true, "A token of Entra is short-lived: name git-credential-manager, or another program that fetches it, in spec.git.credentialsCommand.", "agent.git_use_ms_entra_token")...)
	rows = append(rows, Row{
		Kind: KindKey, Name: "agent.translate_ssl_replacement_scheme", Verdict: Refused, Why: "A login goes over https and nothing else.",
		apply: func(_ *translation, v any) error {
			if s, err := textOf(v); err == nil && s == "https" {
				return nothing("is as it is here")
			}
			return refuse("a login goes over https and nothing else")
		},
	})
	rows = append(rows, noop("A mirror fetches what the task's commit needs: its branch, its tag, its submodules.", "agent.git_fetch_args")...)
	rows = append(rows, noop("A token is the password of a login (agent.git_pass); Azure DevOps looks at no user.", "agent.git_use_azure_pat")...)
	rows = append(rows, noop("Logins never go by an argument or an address.", "agent.enable_git_ask_pass")...)
	return append(rows, refusedIf(true, "The working folder and the script's own come first in PYTHONPATH. A script that needs the root is started as a module (-m package.module) with the root as its working folder.", "agent.force_git_root_python_path")...)
}

// translateSSH notes whether addresses of ssh stay what they are.
func translateSSH(t *translation, v any) error {
	on, err := boolOf(v)
	t.git.asIs = err == nil && !on
	if err == nil && t.git.password == "" {
		return nothing("there is no user and no password for https")
	}
	t.touched = err == nil
	return err
}

// gitHost is the host of a name, an address or the beginning of one.
func gitHost(v any) (string, error) {
	s, err := textOf(v)
	if err != nil {
		return "", err
	}
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || strings.ContainsAny(u.Hostname(), " \t\"\\#") || storable(u.Hostname()) != nil {
		return "", refuse("it names no host")
	}
	return strings.ToLower(u.Hostname()), nil
}

func extraLogins(t *translation, v any) error {
	list, ok := v.([]any)
	if !ok {
		return refuse("its value is no list of logins")
	}
	var found []hostLogin
	for _, e := range list {
		m, _ := e.(map[string]any)
		host, err := gitHost(m["host"])
		if err != nil {
			return refuse("an entry names no host")
		}
		user, uerr := textOf(m["user"])
		password, perr := textOf(m["pass"])
		if uerr != nil || perr != nil || password == "" || storable(user, password) != nil {
			return refuse("an entry has no user or no pass")
		}
		if user == "" {
			user = "git"
		}
		found = append(found, hostLogin{host, login{user, password}})
	}
	t.git.extra = append(t.git.extra, found...)
	t.touched = true
	return nil
}
