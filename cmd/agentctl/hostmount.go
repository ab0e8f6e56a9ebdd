package main

import (
	"cmp"
	"path/filepath"
	"strings"
)

// hostMount is a folder of the machine that this pod sees elsewhere, as clearml-agent is
// told of it: CLEARML_AGENT_K8S_HOST_MOUNT=/on/the/machine:/in/the/pod.
type hostMount struct{ host, pod string }

// hostMount reads the variable, and its older names.
func (a *app) hostMount() (hostMount, error) {
	const name, older = "CLEARML_AGENT_K8S_HOST_MOUNT", "CLEARML_AGENT_DOCKER_HOST_MOUNT"
	value := cmp.Or(a.Getenv(name), a.Getenv(older), a.Getenv("TRAINS_AGENT_K8S_HOST_MOUNT"), a.Getenv("TRAINS_AGENT_DOCKER_HOST_MOUNT"))
	if value == "" {
		return hostMount{}, nil
	}
	host, pod, both := strings.Cut(value, ":")
	if !both || !filepath.IsAbs(host) || !filepath.IsAbs(pod) || strings.Contains(pod, ":") || filepath.Clean(pod) == "/" {
		return hostMount{}, usagef("cannot use the variable %s: %.100q is no pair of folders; write it as /on/the/machine:/in/the/pod", name, value)
	}
	return hostMount{filepath.Clean(host), filepath.Clean(pod)}, nil
}

// state is where the agent keeps its state in the pod: the machine keeps it when the
// pod goes.
func (m hostMount) state() string { return filepath.Join(m.pod, "agentctl") }

// outside is how the machine calls a folder of the pod, "" if it does not have it.
func (m hostMount) outside(dir string) string {
	rel, err := filepath.Rel(m.pod, dir)
	if m.pod == "" || err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return filepath.Join(m.host, rel)
}
