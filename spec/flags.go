package spec

import (
	"regexp"
	"strings"
)

const flagSketch = `^--[a-z][a-z0-9-]*(=[A-Za-z0-9_.,:-]+)?$`

var flagValues = regexp.MustCompile(`^(:all:|:none:|[A-Za-z0-9][A-Za-z0-9._-]*)(,(:all:|:none:|[A-Za-z0-9][A-Za-z0-9._-]*)){0,200}$`)

// plainFlags are the flags of pip that may be given; to true, with a list of packages.
var plainFlags = map[string]bool{
	"--no-deps": false, "--pre": false, "--prefer-binary": false, "--no-build-isolation": false, "--require-hashes": false,
	"--ignore-requires-python": false, "--use-pep517": false, "--only-binary": true, "--no-binary": true,
}

// otherFlags are those that something else stands for.
var otherFlags = map[string]string{
	"--index-url": "write spec.packageManager.indexUrl", "-i": "write spec.packageManager.indexUrl", "--pypi-url": "write spec.packageManager.indexUrl",
	"--extra-index-url": "write spec.packageManager.extraIndexUrls",
	"--no-index":        "write spec.packageManager.indexUrl, with the index that counts", "--find-links": "a task's list may hold it", "-f": "a task's list may hold it",
	"--requirement": "a task's list may hold it", "-r": "a task's list may hold it", "--constraint": "a task's list may hold it", "-c": "a task's list may hold it",
	"--editable": "a task's list may hold it", "-e": "a task's list may hold it",
	"--trusted-host": "pip.conf of the agent's user may hold it", "--cert": "pip.conf of the agent's user may hold it",
	"--client-cert": "pip.conf of the agent's user may hold it", "--proxy": "the agent's own variables (HTTPS_PROXY) tell it",
	"--keyring-provider": "write spec.packageManager.indexCredentialsCommand",
	"--python":           "write spec.packageManager.python", "--timeout": "write spec.packageManager.buildTimeout, the limit of a whole build",
	"--cache-dir": "downloads are kept below the state folder", "--no-cache-dir": "downloads are kept below the state folder",
	"--upgrade": "environments are new: delete it", "-U": "environments are new: delete it", "--upgrade-strategy": "environments are new: delete it",
	"--force-reinstall": "environments are new: delete it", "--ignore-installed": "environments are new: delete it", "-I": "environments are new: delete it",
	"--user": "environments are no user's: delete it", "--break-system-packages": "environments are not the system's: delete it",
	"--target": "environments have a place of their own: delete it", "-t": "environments have a place of their own: delete it",
	"--prefix": "environments have a place of their own: delete it", "--root": "environments have a place of their own: delete it",
	"--src": "environments have a place of their own: delete it", "--log": "the task's console has it: delete it",
	"--report": "the agent reads it: delete it", "--dry-run": "delete it", "--no-input": "it is given always: delete it",
	"--disable-pip-version-check": "it is given always: delete it", "--no-warn-script-location": "it is given always: delete it",
	"--config-settings": "write it into the line of the package that it is for", "-C": "write it into the line of the package that it is for",
	"--global-option":  "write it into the line of the package that it is for",
	"--use-deprecated": "pip's present resolver is used: delete it",
}

// installFlag never repeats a value: it may be a secret.
func installFlag(v any) string {
	const known = "; write one of --no-deps, --pre, --prefer-binary, --only-binary=, --no-binary=, --no-build-isolation, --require-hashes, --ignore-requires-python and --use-pep517"
	name, value, has := strings.Cut(v.(string), "=")
	name, _, blank := strings.Cut(name, " ")
	instead, other := otherFlags[name]
	valued, plain := plainFlags[name]
	switch {
	case other:
		return name + " is not allowed here; " + instead
	case !plain:
		return "is no flag that is allowed here" + known
	case blank:
		return "has a space in it; write one flag for each element, as --only-binary=numpy"
	case valued && (!has || !flagValues.MatchString(value)):
		return name + " has no list of packages; write it as " + name + "=numpy,scipy or " + name + "=:all:"
	case !valued && has:
		return name + " has a value; write it alone"
	}
	return ""
}
