package config

import "time"

// Drain says how a server that is asked to end lets go of its clients.
type Drain struct {
	Spread  time.Duration `yaml:"spread" doc:"browsers' connections are closed one after the other within this time, with code 1012, so that they don't all come back at once"`
	Timeout time.Duration `yaml:"timeout" doc:"how long the end may take; until shortly before, calls that are being set up are waited for"`
}

func (c *Config) validateDrain(fail func(format string, args ...any)) {
	if d := c.Drain; d.Spread < 0 || d.Timeout < time.Second || d.Spread >= d.Timeout {
		fail("drain: expects 0 <= spread < timeout and a timeout of at least 1s, not %v, %v", d.Spread, d.Timeout)
	}
}
