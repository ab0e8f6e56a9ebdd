package migrate

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"agentctl/spec"
)

const pm = "agent.package_manager."

// keysOfPackages are about interpreters and package managers.
func keysOfPackages() []Row {
	rows := []Row{
		key("agent.python_binary", "spec.packageManager.python.default", "Of a path its version counts; the interpreter is looked for in PATH.", "/usr/bin/python3.10", pythonBinary),
		key("agent.default_python", "spec.packageManager.python.default", "", "3.11", pythonBinary),
		key(pm+"type", "spec.packageManager.type", "With poetry and uv, a repository without such a project is installed by its list, as there.", "uv", setText("spec.packageManager.type")),
		key(pm+"uv_replace_pip", "spec.packageManager.type", "", true, func(t *translation, v any) error {
			on, err := boolOf(v)
			if err == nil && on && slices.Contains([]any{nil, spec.ManagerPip}, t.tree.get("spec.packageManager.type")) {
				t.tree.set("spec.packageManager.type", spec.ManagerUV)
			}
			return err
		}),
		key(pm+"pip_version", "spec.packageManager.versions", "One version (==25.3) is taken over. A range is not needed: pip runs from outside of environments, in a version that supports them all.", "==25.2", managerVersion(spec.ManagerPip, "")),
		key(pm+"poetry_version", "spec.packageManager.versions", "One version of 2.0 or newer is taken over; a range is not needed.", "==2.1.0", managerVersion(spec.ManagerPoetry, "2.")),
		key(pm+"uv_version", "spec.packageManager.versions", "One version is taken over; a range is not needed.", "==0.9.0", managerVersion(spec.ManagerUV, "")),
		key(pm+"system_site_packages", "spec.packageManager.systemSitePackages", "In containers clearml-agent forces it; here it is as it is written.", true, setSwitch("spec.packageManager.systemSitePackages")),
		secretKey(pm+"extra_index_url", "spec.packageManager.extraIndexUrls, spec.packageManager.indexCredentialsFile", "Users and passwords in the addresses go to a netrc file.", []any{"https://u:p@pypi.example.com/simple"}, extraIndex),
		secretKey(pm+"extra_pip_install_flags", "spec.packageManager.installFlags, spec.packageManager.indexUrl, spec.packageManager.extraIndexUrls", "--index-url and --extra-index-url become the fields of that name.", []any{"--index-url", "https://pypi.example.com/simple"}, pipFlags),
		key(pm+"force_repo_requirements_txt", "spec.packageManager.requirementsFrom", "", true, setIf("spec.packageManager.requirementsFrom", "repository")),
		key(pm+"force_original_requirements", "spec.packageManager.requirementsFrom", "", true, setIf("spec.packageManager.requirementsFrom", "original")),
		key(pm+"priority_packages", "spec.packageManager.priorityPackages", "", []any{"cython", "numpy"}, setList("spec.packageManager.priorityPackages")),
		key(pm+"priority_optional_packages", "spec.packageManager.priorityOptionalPackages", "", []any{"pygobject"}, setList("spec.packageManager.priorityOptionalPackages")),
		key(pm+"post_packages", "spec.packageManager.postPackages", "", []any{"horovod"}, setList("spec.packageManager.postPackages")),
		key(pm+"post_optional_packages", "spec.packageManager.postOptionalPackages", "", []any{"apex"}, setList("spec.packageManager.postOptionalPackages")),
		key(pm+"poetry_install_extra_args", "spec.packageManager.groups, spec.packageManager.extras", "--with, --extras, --all-groups and --all-extras.", []any{"--with", "train"}, projectArgs("with", "extras")),
		key(pm+"uv_sync_extra_args", "spec.packageManager.groups, spec.packageManager.extras", "--group, --extra, --all-groups and --all-extras.", []any{"--all-extras"}, projectArgs("group", "extra")),
		key(pm+"poetry_files_from_repo_working_dir", "spec.packageManager.projectFolder", "", true, setIf("spec.packageManager.projectFolder", "workingDir")),
		key(pm+"uv_files_from_repo_working_dir", "spec.packageManager.projectFolder", "", true, setIf("spec.packageManager.projectFolder", "workingDir")),
		key(pm+"conda_channels", "spec.packageManager.condaChannels", "", []any{"conda-forge"}, setList("spec.packageManager.condaChannels")),
		key(pm+"pytorch_resolve", "spec.packageManager.torchIndex", "pip and direct are auto, none is off.", "pip", torchResolve),
		key("agent.cuda_version", "spec.packageManager.torchIndex", "It chooses the index of PyTorch's wheels, if one is used; nothing else depends on it.", "12.4", cudaVersion),
		key("=use_interpreter", "spec.packageManager.useInterpreter", "", "/opt/venv/bin/python", useInterpreter),
	}
	rows = append(rows, noop("No package of the task depends on it.", "agent.cudnn_version")...)
	rows = append(rows, refusedIf(true, "A task's version counts; with python.onMissing: nearest (which the import writes) any task runs where its version is not.", "agent.ignore_requested_python_version")...)
	rows = append(rows, refusedIf(true, "A list without versions is resolved anew after spec.cache.resolveAge, which is 7 days.", pm+"force_upgrade")...)
	rows = append(rows, noop("pip's present resolver is used: lists that it can't resolve contradict themselves, and the console says where.", pm+"pip_legacy_resolver")...)
	rows = append(rows, noop("The task is started by its environment's interpreter, not by uv: nothing is synced a second time.", pm+"uv_run_extra_args")...)
	rows = append(rows, refusedIf(false, "A lock file that is there counts; a repository that wants to be resolved has none.", pm+"uv_sync_locked_if_lock_file")...)
	rows = append(rows, refusedIf(true, "A repository says it itself: index-strategy in [tool.uv] of its pyproject.toml.", pm+"uv_unsafe_best_match")...)
	rows = append(rows, refusedIf(true, "Nightly wheels are deleted after days: name their index in extraIndexUrls and the version in the requirements.", pm+"torch_nightly")...)
	rows = append(rows, refused("Name the index of your wheels in spec.packageManager.extraIndexUrls.",
		pm+"torch_page", pm+"torch_nightly_page", pm+"torch_url_template", pm+"torch_url_template_prefix", pm+"extra_index_url_template",
		pm+"nightly_extra_index_url_template", pm+"rocm_extra_index_url_template", pm+"nightly_rocm_extra_index_url_template")...)
	rows = append(rows, refusedIf(true, "A conda environment that is there is used by spec.packageManager.useInterpreter, with the path of its bin/python.", pm+"conda_env_as_base_docker", pm+"use_conda_base_env")...)
	return append(rows, noop("The packages as installed are written back for every manager, and locks of conda can be run again.", pm+"conda_full_env_update")...)
}

var pythonName = regexp.MustCompile(`(?:^|/)(?:python|)(3\.[0-9]{1,2}(?:\.[0-9]{1,2})?)$`)

func pythonBinary(t *translation, v any) error {
	s, err := textOf(v)
	if err != nil {
		return err
	}
	if v == 3.1 {
		s = "3.10"
		t.say("it is a number, 3.1, and read as 3.10: write it in quotes")
	}
	switch m := pythonName.FindStringSubmatch(s); {
	case m != nil:
		t.tree.set("spec.packageManager.python.default", m[1])
		return nil
	case s == "python" || s == "python3" || s == "3" || s == "/usr/bin/python3":
		return nothing("is as it is here: the host's python3")
	}
	return refuse("its name tells no version: write that into spec.packageManager.python.default; an interpreter that has all packages already is named in spec.packageManager.useInterpreter")
}

var exact = regexp.MustCompile(`^(?:===?)?\s*([0-9][0-9A-Za-z.+-]*)$`)

// managerVersion takes over one version of a manager, if it begins as the oldest that fits.
func managerVersion(manager, oldest string) apply {
	return func(t *translation, v any) error {
		list, err := listOf(v)
		if err != nil {
			return err
		}
		if len(list) != 1 {
			return nothing("ranges are not needed: a private %s serves every Python", manager)
		}
		m := exact.FindStringSubmatch(list[0])
		switch {
		case m == nil:
			return nothing("a range is not needed: a private %s serves every Python", manager)
		case oldest != "" && !strings.HasPrefix(m[1], oldest):
			return refuse("it is too old: %sx is the oldest that is used", oldest)
		}
		t.tree.put("spec.packageManager.versions", manager, m[1])
		return nil
	}
}

func extraIndex(t *translation, v any) error {
	list, err := listOf(v)
	if err != nil {
		return err
	}
	for _, raw := range list {
		plain, err := t.withoutLogin(raw)
		if err != nil {
			return err
		}
		t.tree.add("spec.packageManager.extraIndexUrls", plain)
	}
	return nil
}

var authority = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*)@([^/?#@]*)(.*)$`)

// withoutLogin takes the login out of the address of an index, and keeps it.
func (t *translation) withoutLogin(raw string) (string, error) {
	m := authority.FindStringSubmatch(raw)
	if m == nil {
		return raw, nil
	}
	plain := m[1] + m[3] + m[4]
	u, err := url.Parse(plain)
	if err != nil || u.Hostname() == "" {
		return "", refuse("an address in it is no URL")
	}
	user, password, _ := strings.Cut(m[2], ":")
	l := login{unescaped(user), unescaped(password)}
	if l.password == "" {
		l.password = "__token__" // indexes take a token as the user, with any password
	}
	host := strings.ToLower(u.Hostname())
	if err := storable(host, l.user, l.password); err != nil {
		return "", err
	}
	if known, ok := t.index[host]; ok && known != l {
		return "", refuse("it has two logins for one host: name a program that knows both in spec.packageManager.indexCredentialsCommand")
	}
	t.index[host], t.touched = l, true
	return plain, nil
}

func unescaped(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

func torchResolve(t *translation, v any) error {
	s, err := textOf(v)
	if err != nil {
		return err
	}
	to := map[string]string{"pip": "auto", "direct": "auto", "none": "off"}[s]
	if to == "" {
		return refuse("it is none of pip, direct and none")
	}
	t.tree.set("spec.packageManager.torchIndex", to)
	return nil
}

// cudaVersion reads 12.4, 124 or 0.
func cudaVersion(t *translation, v any) error {
	s, err := textOf(v)
	if err != nil {
		return err
	}
	if t.tree.get("spec.packageManager.torchIndex") == "off" {
		return nothing("no index of PyTorch's is used (pytorch_resolve)")
	}
	if n, err := wholeOf(s); err == nil && n >= 10 && n < 30 {
		s += ".0" // without quotes 12.0 is the number 12
	}
	parts := strings.Split(s, ".")
	s = strings.Join(parts[:min(2, len(parts))], "")
	to := "cu" + s
	if strings.Trim(s, "0") == "" {
		to = "cpu"
	}
	t.tree.set("spec.packageManager.torchIndex", to)
	return nil
}

// useInterpreter reads a path; 1 is the interpreter of the tasks themselves.
func useInterpreter(t *translation, v any) error {
	s, err := textOf(v)
	if err != nil {
		return err
	}
	if on, err := boolOf(s); err == nil {
		if !on {
			return nothing("is off")
		}
		s = "python3"
	}
	t.tree.set("spec.packageManager.useInterpreter", s)
	return nil
}
