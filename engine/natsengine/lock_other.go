//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package natsengine

import (
	"errors"
	"os"
)

// lock refuses: two processes on one store would destroy it.
func lock(string) (*os.File, error) {
	return nil, errors.New("this system has no file locks that Penstock knows; run with --ephemeral")
}
