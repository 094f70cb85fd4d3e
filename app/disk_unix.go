//go:build linux || darwin || freebsd

package app

import "syscall"

// diskUsed is the share of a file system that is used, of what ordinary users may use: df's Use%.
func diskUsed(dir string) (float64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	used := float64(st.Blocks) - float64(st.Bfree)
	if whole := used + float64(st.Bavail); whole > 0 {
		return min(max(used/whole, 0), 1), nil
	}
	return 0, nil
}
