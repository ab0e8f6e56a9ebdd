package worker

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"agentctl/clearml"
	"agentctl/envcache"
	"agentctl/spec"

	"github.com/samber/lo"
)

// ChoiceSection is the section of a task's hyperparameters by which it chooses how
// its own environment is made; the names in it are those of node.yaml.
const ChoiceSection = "agentctl"

// Names in ChoiceSection.
const (
	ChoiceManager = "packageManager.type"
	ChoicePython  = "packageManager.python"
	ChoiceGroups  = "packageManager.groups"
	ChoiceExtras  = "packageManager.extras"
	// ChoiceApt names packages of Debian for the image of the task.
	ChoiceApt = "sandbox.aptPackages"
	// ChoiceReplay holds the id of the task whose environment is to be had again, or
	// none: a lock that can't be used fails the task.
	ChoiceReplay = "replay"
	// ChoiceCheckpoint says that the task saves its state on a signal before it is
	// requeued or stopped: true for the signal that the worker's drain names, or one.
	ChoiceCheckpoint = "checkpoint"
)

// choice is what a task says of its own environment; what is empty is left to the
// worker.
type choice struct {
	manager, python string
	groups, extras  spec.List
	apt             spec.List
	replay          string
	checkpoint      string // a signal, or "true"
}

var (
	managers    = []string{spec.ManagerPip, spec.ManagerUV, spec.ManagerConda, spec.ManagerPoetry, spec.ManagerAuto}
	pythonShape = regexp.MustCompile(`^\d{1,2}\.\d{1,3}(\.\d{1,3})?$`)
	aptShape    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*[a-z0-9+]$`) // to apt, a name with a - behind it is to be removed
	groupShape  = regexp.MustCompile(`^(\*|[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?)$`)
)

// mostApt is how many packages of Debian a task may ask for.
const mostApt = 100

// choiceOf reads a task's choice. What it can't mean fails the task: an environment
// made otherwise than asked for would be found out too late.
func choiceOf(t *clearml.Task) (choice, error) {
	var c choice
	section := t.Hyperparams[ChoiceSection]
	for _, name := range slices.Sorted(maps.Keys(section)) {
		value := strings.TrimSpace(string(section[name].Value))
		if value == "" {
			continue
		}
		var err error
		switch name {
		case ChoiceManager:
			c.manager, err = value, oneOf(value, managers)
		case ChoicePython:
			c.python = strings.TrimPrefix(value, "python")
			if !pythonShape.MatchString(c.python) {
				err = fmt.Errorf("write a version, as 3.12")
			}
		case ChoiceGroups:
			c.groups, err = names(value)
		case ChoiceExtras:
			c.extras, err = names(value)
		case ChoiceApt:
			c.apt, err = aptNames(value)
		case ChoiceReplay:
			if c.replay = value; !validID.MatchString(value) {
				err = fmt.Errorf("write the id of a task")
			}
		case ChoiceCheckpoint:
			c.checkpoint, err = checkpointOf(value)
		default:
			err = oneOf(name, []string{ChoiceManager, ChoicePython, ChoiceGroups, ChoiceExtras, ChoiceApt, ChoiceCheckpoint})
			return c, fmt.Errorf("cannot use the task's hyperparameter %.80q: there is none of that name: %w", ChoiceSection+"/"+name, err)
		}
		if err != nil {
			return c, fmt.Errorf("cannot use the task's hyperparameter %s/%s = %.60q: %w", ChoiceSection, name, value, err)
		}
	}
	return c, nil
}

// Chosen are a task's hyperparameters with one choice more; params stays as it is.
func Chosen(params map[string]map[string]clearml.Param, name, value string) map[string]map[string]clearml.Param {
	own := map[string]clearml.Param{}
	maps.Copy(own, params[ChoiceSection])
	own[name] = clearml.Param{Section: ChoiceSection, Name: name, Value: clearml.Text(value), Type: "str"}
	all := map[string]map[string]clearml.Param{}
	maps.Copy(all, params)
	all[ChoiceSection] = own
	return all
}

// CheckChoice tells whether hyperparameters hold a choice that a worker would take.
func CheckChoice(params map[string]map[string]clearml.Param) error {
	_, err := choiceOf(&clearml.Task{Hyperparams: params})
	return err
}

// checkpointOf reads true, false or a signal.
func checkpointOf(value string) (string, error) {
	if on, err := strconv.ParseBool(strings.ToLower(value)); err == nil {
		return lo.Ternary(on, "true", ""), nil
	}
	return value, oneOf(value, append([]string{"true", "false"}, spec.CheckpointSignals...))
}

func oneOf(value string, allowed []string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("write one of %s", strings.Join(allowed, ", "))
}

// names reads a list of groups or extras: names with commas or blanks between
// them, also in the brackets that Python prints around a list.
func names(value string) (spec.List, error) {
	list := words(value)
	for _, n := range list {
		if !groupShape.MatchString(n) {
			return nil, fmt.Errorf("%.60q is no name; write names with commas between them, or *", n)
		}
	}
	return list, nil
}

// aptNames reads a list of packages of Debian.
func aptNames(value string) (spec.List, error) {
	list := words(value)
	for _, n := range list {
		if !aptShape.MatchString(n) || len(n) > 128 {
			return nil, fmt.Errorf("%.60q is no package of Debian; write names with commas between them, as libgl1", n)
		}
	}
	if len(list) > mostApt {
		return nil, fmt.Errorf("write %d packages at most", mostApt)
	}
	return list, nil
}

func words(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune("[]()'\", \t\n", r) })
}

// over lays the choice over the worker's settings.
func (c choice) over(pm spec.PackageManager) spec.PackageManager {
	if c.manager != "" {
		pm.Type = c.manager
	}
	if c.groups != nil {
		pm.Groups = c.groups
	}
	if c.extras != nil {
		pm.Extras = c.extras
	}
	return pm
}

var pythonName = regexp.MustCompile(`^python(\d+\.\d+(?:\.\d+)?)$`)

// wantedPython is the version that the environment is to have: the task's choice,
// else what its binary names, which is a name or a path of the machine it was made
// on, else the node's default; "" for any.
func wantedPython(c choice, binary string, pm spec.PackageManager) string {
	if c.python != "" {
		return c.python
	}
	if m := pythonName.FindStringSubmatch(binaryName(binary)); m != nil {
		return m[1]
	}
	return pm.Python.Default
}

// fits tells whether a lock is of what the task itself asks for.
func (c choice) fits(l envcache.Lock) error {
	switch {
	case c.manager != "" && c.manager != spec.ManagerAuto && c.manager != l.Manager:
		return fmt.Errorf("it is of %s, and the task asks for %s", l.Manager, c.manager)
	case c.python != "" && !strings.HasPrefix(l.Python+".", c.python+"."):
		return fmt.Errorf("it is for python %s, and the task asks for %s", l.Python, c.python)
	case c.groups != nil && !sameNames(c.groups, l.Groups), c.extras != nil && !sameNames(c.extras, l.Extras):
		return errors.New("the task asks for other groups or extras")
	}
	return nil
}

func sameNames(a, b []string) bool {
	added, gone := lo.Difference(a, b)
	return len(added)+len(gone) == 0
}
