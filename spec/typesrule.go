package spec

// SandboxRule says what the tasks that it fits get in their sandboxes.
type SandboxRule struct {
	// What a task has to be. All that is written must fit.
	Match RuleMatch `yaml:"match" json:"match"`
	// Image of those tasks that name none.
	Image string `yaml:"image,omitempty" json:"image,omitempty"`
	// What their sandboxes have besides, over `spec.sandbox.arguments` and those of the worker; a list is added to the node's.
	Arguments Arguments `yaml:"arguments,omitempty" json:"arguments,omitzero"`
	// As `spec.sandbox.setupScript`, which runs before it.
	SetupScript string `yaml:"setupScript,omitempty" json:"setupScript,omitempty"`
	// Leave the task's own image, arguments and setup script out of account.
	Force bool `yaml:"force,omitempty" json:"force,omitempty"`
}

// RuleMatch are regular expressions in the syntax of RE2, each of which fits if it is
// found anywhere in the value; ^ and $ stand for its ends.
type RuleMatch struct {
	// Name of the task's project, with those above it, as Team/vision.
	Project string `yaml:"project,omitempty" json:"project,omitempty"`
	// Id of the task's project.
	ProjectID string `yaml:"projectId,omitempty" json:"projectId,omitempty"`
	// URL of the task's repository.
	Repository string `yaml:"repository,omitempty" json:"repository,omitempty"`
	// Branch of the task's repository.
	Branch string `yaml:"branch,omitempty" json:"branch,omitempty"`
	// Interpreter that the task was made with, as /usr/bin/python3.12.
	Binary string `yaml:"binary,omitempty" json:"binary,omitempty"`
	// Image that the task itself names; ^$ fits those that name none.
	Image string `yaml:"image,omitempty" json:"image,omitempty"`
	// Id of the user whose task it is.
	User string `yaml:"user,omitempty" json:"user,omitempty"`
	// Each must fit a tag of the task.
	Tags []string `yaml:"tags,omitempty" json:"tags,omitempty"`
	// Each must fit a line of the packages that the task lists, of pip or conda, as ^tensorflow==1\.
	Requirements []string `yaml:"requirements,omitempty" json:"requirements,omitempty"`
}
