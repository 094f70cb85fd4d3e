package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Missing says that a peer is not installed here.
type Missing struct{ Name, Package string }

// Error names the package that has it.
func (m *Missing) Error() string {
	return fmt.Sprintf("%s is not installed; as root: apt-get install %s", m.Name, m.Package)
}

// Place is where a server is to run.
type Place struct {
	// Dir takes its files. It must exist.
	Dir string
	// Core is the CPU that it is pinned to by taskset, empty: none.
	Core string
	// Origin is the address, host:port, that it stands in front of.
	Origin string
}

// Server is a running server.
type Server struct {
	// Name is what tables call it. Base is the URL below which the origin's paths are found.
	Name, Base string
	// Admin is the URL of Penstock's admin plane, empty for others. Store is the folder in which a peer
	// keeps what it has cached, empty if that is in memory.
	Admin, Store string
	cmd          *exec.Cmd
	done         chan struct{}
}

// launch runs a command at its place and waits until base answers.
func launch(p Place, name, base string, args ...string) (*Server, error) {
	if p.Core != "" {
		args = append([]string{"taskset", "-c", p.Core}, args...)
	}
	log, err := os.Create(filepath.Join(p.Dir, strings.ReplaceAll(name, "/", "-")+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that Stop reaches its children too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{Name: name, Base: base, cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(s.done)
	}()
	if err := s.await(base + "/ready"); err != nil {
		s.Stop()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%s: %w\n%s", name, err, text)
	}
	return s, nil
}

// await asks until there is an answer.
func (s *Server) await(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode < 500 {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-s.done:
			return errors.New("it ended by itself")
		case <-ctx.Done():
			return errors.New("it does not answer")
		}
	}
}

// Stop ends the server and its children.
func (s *Server) Stop() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(5 * time.Second):
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.done
}

// ResidentBytes is the memory of the server's processes that is theirs or shared among them (Pss).
func (s *Server) ResidentBytes() (int64, error) {
	var total int64
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (comm) state ppid pgrp ...; comm may hold anything but ends at the last parenthesis.
		_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
		fields := strings.Fields(rest)
		if len(fields) < 3 || fields[2] != strconv.Itoa(s.cmd.Process.Pid) {
			continue
		}
		n, err := pss(dir + "/smaps_rollup")
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func pss(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no Pss", path)
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
