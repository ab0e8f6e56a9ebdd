package server

import (
	"errors"
	"log/slog"
	"time"
)

// Ports of a ClearML server.
const (
	DefaultAPIPort   = 8008
	DefaultWebPort   = 8080
	DefaultFilesPort = 8081
)

// Config is what a server needs.
type Config struct {
	// Dir is the server's own folder; it is created.
	Dir string
	// Listen is the address of the interface; 127.0.0.1 when empty.
	Listen string
	// Advertise is the host in the addresses that clients are given; Listen's
	// when empty, or 127.0.0.1 when the server listens on all interfaces.
	Advertise string
	// Ports; 0 for any that is free.
	APIPort, FilesPort, WebPort int
	// Lease is how long a popped task may stay without tasks.started before it
	// goes back to its queue; 60 s when zero.
	Lease time.Duration
	Log   *slog.Logger
	// Now is the clock; nil for time.Now.
	Now func() time.Time
}

func (c *Config) complete() error {
	if c.Dir == "" {
		return errors.New("cannot start the server: no folder is given")
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1"
	}
	if c.Advertise == "" {
		c.Advertise = c.Listen
		if c.Listen == "0.0.0.0" || c.Listen == "::" {
			c.Advertise = "127.0.0.1"
		}
	}
	if c.Lease <= 0 {
		c.Lease = time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}
