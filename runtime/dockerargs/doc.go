// Package dockerargs owns the arguments that a task has for its container, in the
// syntax of `docker run`: what they ask for, and what of it is granted.
//
//	Parse    text → Requests, each typed and with the argument that it came from;
//	         what can't be read is refused
//	Decide   Requests and a Policy → Settings, refusals and notes
//	Merge    the Settings of the node, with those of the task over them
//
// Values are read with Docker's own option types, so that each form that Docker
// knows means the same here. Where those types would look at the machine they run
// on (a variable of the environment, a relative path, a file), the value is refused
// first: they would look at the agent's.
//
// The package is pure: it reads no file and no environment, and knows neither
// node.yaml nor ClearML. Arguments are hostile. The values of variables, labels and
// the like may be secrets and are in no message.
package dockerargs
