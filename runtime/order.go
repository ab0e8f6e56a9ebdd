package runtime

import "agentctl/runtime/internal/record"

// ReadConfig returns what was ordered to run in dir; the zero Config when nothing
// was.
func ReadConfig(dir string) (Config, error) {
	run, err := record.ReadRun(dir)
	if err != nil || run == nil {
		return Config{}, err
	}
	return run.Config, nil
}
