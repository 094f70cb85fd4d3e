package servers

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// penstockConfig switches everything on that stands on a request's way. The number of workers is
// fixed for the comparisons, since the peers have no limit; the tuner runs and sees everything.
const penstockConfig = `upstreams:
  origin:
    base_url: http://%s
    workers: {count: 512, max: 1000}
    pool: {max_idle_per_host: 512}
    retry: {max_attempts: %d}
    timeouts: {response_header: %s}
data_dir: %s
server: {drain_delay: 0s}
profiling: {enabled: true}
knobs: {workers.origin: 512}
cache: {stale_if_error: %s, compress_min_bytes: %d, max_bytes: %d}
workers: {queue_length: 5000, max: 1000}
`

// Variant changes how Penstock is set up. The zero value is the default configuration.
type Variant struct {
	// NoRetry makes one call of each failing one, as the peers do.
	NoRetry bool
	// HeaderTimeout is how long an answer may stay away, default 30s.
	HeaderTimeout string
	// NoStaleDefault: only what the answers themselves allow is served stale.
	NoStaleDefault bool
	// NoCompression stores bodies as they are.
	NoCompression bool
	// MaxBytes bounds the cache, default 256 MiB, as ours.
	MaxBytes int64
	Name     string
}

// BuildPenstock builds the service from the module around this one.
func BuildPenstock(dir string) (binary string, err error) {
	binary = filepath.Join(dir, "scheduler")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/scheduler")
	if cmd.Dir, err = root(); err != nil {
		return "", err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build Penstock: %w\n%s", err, out)
	}
	return binary, nil
}

// root is the folder of Penstock's own module.
func root() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "penstock").Output()
	return strings.TrimSpace(string(out)), err
}

// Penstock starts a binary made by BuildPenstock.
func Penstock(p Place, binary string, v Variant) (*Server, error) {
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	name, attempts, header, stale, compress := "penstock", 3, "30s", "1h", 1024
	if v.Name != "" {
		name = v.Name
	}
	if v.NoRetry {
		attempts = 1
	}
	if v.HeaderTimeout != "" {
		header = v.HeaderTimeout
	}
	if v.NoStaleDefault {
		stale = "0s"
	}
	if v.NoCompression {
		compress = 0
	}
	data := filepath.Join(p.Dir, name+"-data")
	text := fmt.Sprintf(penstockConfig, p.Origin, attempts, header, data, stale, compress, cmp.Or(v.MaxBytes, 256<<20))
	path := filepath.Join(p.Dir, name+".yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s, err := launch(p, name, "http://"+listen+"/proxy/origin", binary, "run", "--config", path, "--listen", listen, "--admin", admin)
	if err == nil {
		s.Admin = "http://" + admin
	}
	return s, err
}
