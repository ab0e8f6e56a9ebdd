package envcache

import (
	"log/slog"
	"os"
	"time"
)

// Options of a Cache and of a Finder. The zero value is ready.
type Options struct {
	// Exec runs what builds; nil: HostExec.
	Exec Exec
	Log  *slog.Logger
	// MaxAge is how long a list that pins not everything counts as resolved, where
	// the request does not say; after it the next request is resolved anew. 0: 7
	// days; negative: for ever.
	MaxAge time.Duration
	// Silent is the longest time without a word from a builder before it counts
	// as hung. Compilers of large packages say nothing for long. 0: 30 minutes.
	Silent time.Duration
	// Getenv reads the environment of the agent; nil: os.Getenv.
	Getenv func(string) string
}

const (
	defaultMaxAge = 7 * 24 * time.Hour
	defaultSilent = 30 * time.Minute
)

func (o Options) filled() Options {
	if o.Exec == nil {
		o.Exec = HostExec{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.MaxAge == 0 {
		o.MaxAge = defaultMaxAge
	}
	if o.Silent == 0 {
		o.Silent = defaultSilent
	}
	return o
}
