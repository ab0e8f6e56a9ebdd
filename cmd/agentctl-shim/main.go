// Command agentctl-shim holds one task: see package shim. It is carried inside
// agentctl, which starts it.
package main

import (
	"os"

	"agentctl/runtime/shim"
)

func main() { os.Exit(shim.Main(os.Args)) }
