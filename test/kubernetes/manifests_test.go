// Package kubernetes holds the manifests of examples/kubernetes against Kubernetes' own
// types. It is a module of its own: agentctl needs nothing of Kubernetes.
package kubernetes

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// read decodes a manifest; a key that its type does not have fails the test.
func read[T any](t *testing.T, file string) (manifest T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "kubernetes", file))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &manifest); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return manifest
}

func TestManifests(t *testing.T) {
	specs := read[corev1.ConfigMap](t, "configmap.yaml")
	gpu := read[appsv1.DaemonSet](t, "daemonset.yaml")
	services := read[appsv1.Deployment](t, "deployment.yaml")
	for _, c := range []struct {
		name             string
		selector, labels map[string]string
		pod              corev1.PodSpec
	}{
		{"daemonset", gpu.Spec.Selector.MatchLabels, gpu.Spec.Template.Labels, gpu.Spec.Template.Spec},
		{"deployment", services.Spec.Selector.MatchLabels, services.Spec.Template.Labels, services.Spec.Template.Spec},
	} {
		t.Run(c.name, func(t *testing.T) {
			for key, value := range c.selector {
				if c.labels[key] != value {
					t.Errorf("the selector wants %s=%s of its pods, which have %v", key, value, c.labels)
				}
			}
			checkPod(t, c.pod, specs)
		})
	}
}

// checkPod wants each mount to have its volume and the other way round, the spec as a
// folder of the ConfigMap, and no socket of a container engine.
func checkPod(t *testing.T, pod corev1.PodSpec, specs corev1.ConfigMap) {
	agent := pod.Containers[0]
	var volumes, mounts []string
	for _, v := range pod.Volumes {
		volumes = append(volumes, v.Name)
		if v.HostPath != nil && strings.Contains(v.HostPath.Path, ".sock") {
			t.Errorf("%s is a socket of the machine", v.HostPath.Path)
		}
		if v.ConfigMap != nil && v.ConfigMap.Name != specs.Name {
			t.Errorf("there is no ConfigMap %s", v.ConfigMap.Name)
		}
	}
	for _, m := range agent.VolumeMounts {
		mounts = append(mounts, m.Name)
		if m.SubPath != "" {
			t.Errorf("%s is mounted by subPath, and would never change", m.MountPath)
		}
	}
	slices.Sort(volumes)
	slices.Sort(mounts)
	if !slices.Equal(volumes, mounts) {
		t.Errorf("volumes %v, mounts %v", volumes, mounts)
	}
	file := agent.Args[slices.Index(agent.Args, "--watch")+1]
	if _, ok := specs.Data[filepath.Base(file)]; !ok || filepath.Dir(file) != "/etc/agentctl" {
		t.Errorf("the agent watches %s, the ConfigMap does not hold it", file)
	}
	if !slices.Contains(agent.Args, "--drain-on-stop") || *pod.TerminationGracePeriodSeconds < 60 {
		t.Error("a pod that goes does not drain its workers, or has no time for it")
	}
	host := slices.IndexFunc(agent.Env, func(e corev1.EnvVar) bool { return e.Name == "CLEARML_AGENT_K8S_HOST_MOUNT" })
	if host < 0 {
		return
	}
	outside, inside, _ := strings.Cut(agent.Env[host].Value, ":")
	for _, v := range pod.Volumes {
		at := slices.IndexFunc(agent.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name })
		if v.HostPath != nil && (v.HostPath.Path != outside || agent.VolumeMounts[at].MountPath != inside) {
			t.Errorf("the variable says %s:%s, the volume %s:%s", outside, inside, v.HostPath.Path, agent.VolumeMounts[at].MountPath)
		}
	}
}
