package config

import "time"

// Calls says how long a call is taken to go on of which nothing ends it: what sipway shows and
// records, not what the two sides do.
type Calls struct {
	BothLost   time.Duration `yaml:"both_lost" doc:"a call both of whose clients have lost their connections for so long is recorded as ended"`
	OneLost    time.Duration `yaml:"one_lost" doc:"the same where one of them has"`
	MaxSilence time.Duration `yaml:"max_silence" doc:"a call of which no message was seen for so long is recorded as ended"`
}

// CDR says where call detail records go.
type CDR struct {
	ToLog bool   `yaml:"to_log" doc:"a line of the log for each call that has ended, at level info"`
	File  string `yaml:"file" doc:"file to append a JSON object a line to for each call that has ended; it is opened anew at SIGHUP; empty for none"`
}

// validateCalls checks what spans the keys on calls.
func (c *Config) validateCalls(fail func(format string, args ...any)) {
	k := c.Calls
	if k.BothLost < time.Second || k.OneLost < k.BothLost || k.MaxSilence < time.Minute {
		fail("calls: expects 1s <= both_lost <= one_lost and max_silence of at least 1m, not %v, %v, %v", k.BothLost, k.OneLost, k.MaxSilence)
	}
	if s := c.Proxy.SessionExpires; s != 0 && s < c.Proxy.MinSE {
		fail("proxy.session_expires: expects 0 or at least proxy.min_se, not %v", s)
	}
	if c.Proxy.MinSE < 90*time.Second { // RFC 4028 §5
		fail("proxy.min_se: expects at least 90s, not %v", c.Proxy.MinSE)
	}
}
