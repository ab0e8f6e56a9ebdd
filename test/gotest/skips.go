package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// readSkips reads the tests that may be skipped: "package test reason…" a line,
// # starts a comment. The result maps "package test" to the reason.
func readSkips(path string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the allowed skips: %w", err)
	}
	defer file.Close()
	allowed := map[string]string{}
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		fields := strings.Fields(text)
		if len(fields) < 3 {
			return nil, fmt.Errorf("cannot read the allowed skips: %s:%d: want package, test and reason", path, n)
		}
		allowed[fields[0]+" "+fields[1]] = strings.Join(fields[2:], " ")
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the allowed skips: %w", err)
	}
	return allowed, nil
}
