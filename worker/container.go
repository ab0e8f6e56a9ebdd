package worker

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"agentctl/clearml"
	"agentctl/runtime/dockerargs"
	"agentctl/spec"

	"github.com/distribution/reference"
	"github.com/samber/lo"
)

// container is what a task runs in: what it asks for itself, as far as its worker
// allows, over what the worker gives.
type container struct {
	// Image is a reference, or spec.ImageHost.
	Image string
	// OwnImage says that the task named it. Else it is written back to the task.
	OwnImage bool
	Settings dockerargs.Settings
	// Setup are shell scripts: the node's, the rule's and the task's.
	Setup []string
	// Apt are packages of Debian that are to be in it.
	Apt []string
	// Notes are for the console: what was dropped, and what makes no difference.
	Notes []string
}

// deniedError fails a task for what it asks of its container.
type deniedError struct{ refused []dockerargs.Refusal }

func (e *deniedError) Error() string {
	lines := lo.Map(e.refused, func(r dockerargs.Refusal, _ int) string { return r.String() })
	return "cannot run the task in the container that it asks for: " + strings.Join(lines, "\n")
}

// writeBack is what tasks.edit gets so that the task tells which image it ran in; nil
// where it told so itself. As with clearml-agent a clone of the task has that image
// from then on. The host's files are no image that another node could have.
func (c *container) writeBack(t *clearml.Task) map[string]any {
	if c.OwnImage || c.Image == spec.ImageHost {
		return nil
	}
	return map[string]any{"container": map[string]string{
		"image": c.Image, "arguments": string(t.Container.Arguments), "setup_shell_script": strings.Join(t.Container.SetupShellScript, "\n"),
	}}
}

// maxSetupScript is how long a setup script may be.
const maxSetupScript = 1 << 20

// containerOf decides what t runs in on a worker with spec.ModeSandbox. Each thing
// that the task may not ask for fails it, or is dropped with a note, as the worker's
// onDenied says.
//
// As with clearml-agent an image of the task goes before that of the worker, and the
// node's own arguments stay under those of the task. Other than with it, arguments of
// a task without an image count too, and so does a rule that fits a task with one, but
// for its image.
func containerOf(t *clearml.Task, w spec.Worker, rule *ruling, p places) (container, error) {
	own, err := choiceOf(t)
	if err != nil {
		return container{}, err
	}
	c := given(w, rule)
	if rule.forces() {
		t = c.ignore(t, rule)
	}
	image, words, refused := asked(t)
	setup := setupScript(t)
	c.Setup = lo.Compact(append(c.Setup, setup))
	if image != "" {
		full, refusal := allowedImage(image, c.Image, w)
		if refusal != nil {
			refused = append(refused, *refusal)
		} else {
			c.Image, c.OwnImage = full, true
		}
	}
	requests, unread := dockerargs.ParseWords(words)
	d := dockerargs.Decide(requests, policyOf(w, p))
	apt, denied := aptOf(own.apt, w)
	c.Apt = apt
	refused = slices.Concat(refused, unread, d.Refused, denied)
	if len(setup) > maxSetupScript || strings.ContainsRune(setup, 0) {
		return c, errors.New("cannot run the task's setup script: it is longer than 1 MiB or has a zero byte")
	}
	if len(refused) > 0 && w.Sandbox.OnDenied != spec.OnDeniedDrop {
		return c, &deniedError{refused}
	}
	for _, r := range refused {
		c.Notes = append(c.Notes, "dropped, since it is not allowed here: "+r.String())
	}
	c.Notes = append(c.Notes, d.Notes...)
	if slices.ContainsFunc(words, func(word string) bool { return strings.Contains(word, "${CLEARML_") }) {
		c.Notes = append(c.Notes, "templates as ${CLEARML_TASK.id} are not replaced in arguments: the task finds its own in CLEARML_TASK_ID and the like")
	}
	c.Settings = dockerargs.Merge(c.Settings, d.Settings)
	return c, nil
}

// given is what a task gets that asks for nothing.
func given(w spec.Worker, rule *ruling) container {
	c := container{Image: w.Image, Settings: settingsOf(w), Setup: []string{script(w.Sandbox.SetupScript)}}
	if rule == nil {
		return c
	}
	c.Image = cmp.Or(rule.Image, c.Image)
	c.Settings = dockerargs.Merge(c.Settings, argumentsOf(rule.Arguments))
	c.Setup = append(c.Setup, script(rule.SetupScript))
	c.Notes = []string{rule.String() + " fits the task"}
	return c
}

// ignore is the task without the container that it asks for.
func (c *container) ignore(t *clearml.Task, rule *ruling) *clearml.Task {
	bare := *t
	bare.Container, bare.Execution.DockerCmd = clearml.Container{}, ""
	if image, words, refused := asked(t); image != "" || len(words)+len(refused) > 0 || setupScript(t) != "" {
		c.Notes = append(c.Notes, "the task's own image, arguments and setup script are left out of account, as "+rule.String()+" says (force)")
	}
	return &bare
}

// asked are the image and the arguments of a task's container section. Servers before
// 2.13 have both in one text, the image first.
func asked(t *clearml.Task) (image string, words []string, refused []dockerargs.Refusal) {
	image = strings.TrimSpace(string(t.Container.Image))
	text := string(t.Container.Arguments)
	legacy := image == "" && strings.TrimSpace(text) == "" && t.Execution.DockerCmd != ""
	if legacy {
		text = t.Execution.DockerCmd
	}
	words, fault := dockerargs.Split(text)
	if fault != nil {
		return image, nil, []dockerargs.Refusal{*fault}
	}
	if legacy && len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		image, words = words[0], words[1:]
	}
	return image, words, nil
}

func setupScript(t *clearml.Task) string {
	return script(strings.Join(t.Container.SetupShellScript, "\n"))
}

// script is a shell script as a file has it, "" for one without a command.
func script(text string) string {
	if text = strings.TrimSpace(text); text == "" {
		return ""
	}
	return text + "\n"
}

// allowedImage is the whole name of an image that a task asks for, or why it may not
// have it. It may always ask for the one that it would get without.
func allowedImage(image, given string, w spec.Worker) (string, *dockerargs.Refusal) {
	refuse := func(fault, fix string) (string, *dockerargs.Refusal) {
		return "", &dockerargs.Refusal{Argument: fmt.Sprintf("the image %.100q", image), Fault: fault, Fix: fix}
	}
	allow := w.Sandbox.Allow.Images
	if image == given || image == w.Image {
		return image, nil
	}
	if image == spec.ImageHost {
		if !slices.Contains(allow, image) {
			return refuse("is the file system of the host, which is not allowed", "name another, or add host to spec.sandbox.allow.images")
		}
		return image, nil
	}
	full, familiar, err := imageNames(image)
	if err != nil {
		return refuse("is no image reference", "write it as docker.io/library/python:3.12-slim; arguments have a field of their own")
	}
	if allow != nil && !slices.ContainsFunc(allow, func(pattern string) bool { return imageFits(pattern, full, familiar) }) {
		return refuse("is not among those of spec.sandbox.allow.images", "name another, or add "+full+" to it")
	}
	return full, nil
}

// imageNames are the whole name of an image and the short one that people write.
func imageNames(image string) (full, familiar string, err error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", "", err
	}
	named = reference.TagNameOnly(named)
	return named.String(), reference.FamiliarString(named), nil
}

func imageFits(pattern, full, familiar string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(full, prefix) || strings.HasPrefix(familiar, prefix)
	}
	whole, _, err := imageNames(pattern)
	return err == nil && whole == full
}
