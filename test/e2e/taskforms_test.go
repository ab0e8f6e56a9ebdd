package e2e_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// What people make tasks of: notebooks, shell scripts, texts, modules with variables,
// scripts that the SDK put its two lines before; and what a worker gives to each.
func TestFormsOfTasks(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	n.StartAgent()
	n.Apply(node(`{name: w, queues: [default], environment: {SITE: "a b", OWN: site}, taskEnvironment: true, pythonOptimize: 1, logLevel: DEBUG}`,
		`{name: alone, queues: [alone], standalone: true}`))
	repo := n.NewRepository(map[string]string{
		"pkg/job.py":     "import os, sys\nassert False, 'not with -O'\nprint('module', sys.argv[1:], os.environ['CLEARML_LOG_LEVEL'], os.environ['OWN'])\n",
		"nb/train.ipynb": `{"nbformat": 4, "cells": [{"cell_type": "code", "source": ["%matplotlib inline\n", "import os, beside\n", "print('notebook', beside.NAME, os.path.basename(__file__))"]}]}`,
		"nb/beside.py":   "NAME = 'beside'\n",
		"clearml.py":     "class Task:\n    @staticmethod\n    def init():\n        import builtins\n        builtins.TOLD = 'init'\n",
		"run.sh":         "echo \"shell $# $2 in ${PWD##*/} for $SITE\"\n",
		"a b.py":         "print('blank')\n",
		"future.py":      "'''It says\nfrom __future__ import nothing'''\nfrom __future__ import (\n    annotations,\n)\ndef f(x: Nowhere): pass\nprint('future after', TOLD)\n",
	})
	head := "from clearml import Task\n+(__name__ != '__main__') or Task.init()\n"
	diff := "diff --git a/future.py b/future.py\n--- a/future.py\n+++ b/future.py\n@@ -1,2 +1,4 @@\n+" + head + " '''It says\n from __future__ import nothing'''\n"
	forms := map[string]clearml.Script{
		"module ['a', 'b', '$NONE'] DEBUG task": {EntryPoint: "-m pkg.job $SITE $NONE"},
		"notebook beside train.py":              {EntryPoint: "train.ipynb", WorkingDir: "nb"},
		"shell 2 c d in pkg for a b":            {EntryPoint: "../run.sh b 'c d'", WorkingDir: "pkg", Binary: "/bin/bash"},
		"text a b":                              {EntryPoint: "-c echo text $SITE", Binary: "bash"},
		"future after init":                     {EntryPoint: "future.py", Diff: diff},
		"blank":                                 {EntryPoint: "a b.py"},
		"beside module main":                    {EntryPoint: "-m pkg.lib", WorkingDir: ".:pkg/lib.py", Diff: "print('beside module', __name__.strip('_'))\n"},
	}
	tasks := map[string]string{}
	for _, want := range slices.Sorted(maps.Keys(forms)) {
		tasks[want] = n.Submit(harness.Script{Name: want, Change: func(todo *clearml.NewTask) {
			script := forms[want]
			script.Repository, script.Branch = repo.Bare, "main"
			todo.Script = script
			todo.Hyperparams = map[string]map[string]clearml.Param{"Environment": {"OWN": {Section: "Environment", Name: "OWN", Value: "task"}, "CLEARML_TASK_ID": {Value: "other"}}}
		}})
	}
	for want, task := range tasks {
		n.WaitStatus(task, clearml.StatusCompleted)
		n.WantConsole(t, task, want)
	}
	standalone(t, n, repo)
}

// standalone: of a worker that fetches and installs nothing a task gets the host's
// Python, and a repository that is here already.
func standalone(t *testing.T, n *harness.Node, repo *harness.Repository) {
	t.Helper()
	alone := func(repository, entry, diff string) string {
		return n.Submit(harness.Script{Queue: "alone", Pip: []string{"no-such-package"}, Change: func(todo *clearml.NewTask) {
			todo.Script.Repository, todo.Script.Branch, todo.Script.EntryPoint, todo.Script.Diff = repository, "main", entry, diff
		}})
	}
	here := alone(repo.Bare, "-c \"import sys, clearml; print('alone', sys.prefix == sys.base_prefix)\"", "")
	text := alone("", "x.py", "print('a text alone')")
	elsewhere := alone(n.NewRepository(map[string]string{"x.py": ""}).Bare, "x.py", "")
	n.WaitStatus(here, clearml.StatusCompleted)
	n.WantConsole(t, here, "alone True")
	n.WaitStatus(text, clearml.StatusCompleted)
	n.WantConsole(t, text, "a text alone")
	if task := n.WaitStatus(elsewhere, clearml.StatusFailed); !strings.Contains(task.StatusMessage, "there is no branch main") {
		t.Errorf("%q", task.StatusMessage)
	}
}
