package tuner

import "fmt"

// Mode says how far the tuner may go.
type Mode string

// The modes.
const (
	ModeOff    Mode = "off"    // decides nothing
	ModeShadow Mode = "shadow" // records what it would do, changes nothing
	ModeActive Mode = "active" // turns knobs
)

// ParseMode reads a mode.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case ModeOff, ModeShadow, ModeActive:
		return m, nil
	}
	return "", fmt.Errorf("tuning mode %q is none of off, shadow, active", s)
}
