package servers

import (
	"errors"
	"os"
	"os/exec"
)

// Install has apt-get install Debian packages. It needs root.
func Install(packages ...string) error {
	if os.Geteuid() != 0 {
		return errors.New("installing packages needs root")
	}
	for _, args := range [][]string{{"update", "-qq"}, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)} {
		cmd := exec.Command("apt-get", args...)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if err := cmd.Run(); err != nil {
			return err
		}
	}
	return nil
}
