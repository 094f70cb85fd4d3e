package observe

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"syscall"
)

// readSystem fills in what the kernel tells; what it does not tell stays as it is.
func readSystem(p *Process) {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil {
		p.CPUSeconds = seconds(usage.Utime) + seconds(usage.Stime)
	}
	// proc(5): the second field of statm is the resident set in pages.
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(text); len(fields) > 1 {
			if pages, err := strconv.ParseUint(string(fields[1]), 10, 64); err == nil {
				p.ResidentBytes = pages * uint64(os.Getpagesize())
			}
		}
	}
	p.OpenFDs = countFDs()
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		p.MaxFDs = int(min(limit.Cur, 1<<62))
	}
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// countFDs counts the entries of the process's table of files, without the one that it opens for it.
func countFDs() int {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer dir.Close()
	n := -1
	for {
		names, err := dir.Readdirnames(1024)
		n += len(names)
		if err == io.EOF || len(names) == 0 {
			return max(n, 0)
		}
		if err != nil {
			return 0
		}
	}
}
