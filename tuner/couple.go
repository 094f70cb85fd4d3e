package tuner

import "sync"

// couple is a group of knobs of which one at a time is on trial.
type couple struct {
	mu     sync.Mutex // guards what follows
	holder string     // the knob on trial; empty: none
}

// hold takes the group for a knob, and reports whether the knob has it.
func (c *couple) hold(knob string) bool {
	if c == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holder == "" {
		c.holder = knob
	}
	return c.holder == knob
}

// seize takes the group whoever has it.
func (c *couple) seize(knob string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.holder = knob
	c.mu.Unlock()
}

// release gives the group back if the knob has it.
func (c *couple) release(knob string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	if c.holder == knob {
		c.holder = ""
	}
	c.mu.Unlock()
}

// held is the knob on trial, empty if there is none.
func (c *couple) held() string {
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holder
}
