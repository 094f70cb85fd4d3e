//go:build linux || darwin || freebsd

package resume

import (
	"fmt"
	"os"
	"syscall"
)

// lockFile keeps other processes from writing to the file at path, which is f, until f is closed.
func lockFile(path string, f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s is being written to by another run of this command: %w", path, err)
	}
	ours, err := f.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Stat(path); err != nil || !os.SameFile(ours, there) {
		return fmt.Errorf("%s was replaced by another run of this command a moment ago; try again", path)
	}
	return nil
}
