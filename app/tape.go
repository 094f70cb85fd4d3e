package app

import (
	"errors"
	"fmt"
	"io"
	"os"

	"penstock/tuner"
)

// tape is the file that the tuner is recorded to. A nil tape records nothing.
type tape struct {
	file *os.File
	tape *tuner.Tape
}

func openTape(path string) (*tape, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--record-tuning: %w", err)
	}
	return &tape{f, tuner.NewTape(f, 0)}, nil
}

func (t *tape) recorder() *tuner.Tape {
	if t == nil {
		return nil
	}
	return t.tape
}

func (t *tape) close() error {
	if t == nil {
		return nil
	}
	err := errors.Join(t.tape.Close(), t.file.Close())
	if errors.Is(err, os.ErrClosed) {
		return nil // closed before
	}
	if err != nil {
		return fmt.Errorf("--record-tuning: %w", err)
	}
	return nil
}

// ReplayedTuning is what a recording of the tuner came to.
type ReplayedTuning = tuner.Replayed

// ReplayTuning plays a recording (Options.RecordTuning) through the controllers of this version.
func ReplayTuning(r io.Reader) (ReplayedTuning, error) { return tuner.Replay(r) }
