package servers

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// varnishConfig adds nothing to the rules that Varnish has built in.
const varnishConfig = `vcl 4.1;
backend default {
  .host = "%s";
  .port = "%s";
  .first_byte_timeout = %s;
}
`

// Varnish starts varnishd with its store in memory.
func Varnish(p Place, firstByteTimeout string) (*Server, error) {
	binary, err := find("varnishd", "/usr/sbin/varnishd")
	if err != nil {
		return nil, &Missing{"Varnish", "varnish"}
	}
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(p.Origin)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(p.Dir, "varnish.vcl")
	if err := os.WriteFile(path, fmt.Appendf(nil, varnishConfig, host, port, firstByteTimeout), 0o644); err != nil {
		return nil, err
	}
	// No jail: its user may not enter our folder. One pool for one core. Its other settings stay as they are.
	return launch(p, "varnish", "http://"+listen, binary, "-j", "none", "-F", "-n", filepath.Join(p.Dir, "varnish"), "-f", path,
		"-a", listen, "-s", "malloc,2g", "-p", "thread_pools=1", "-T", "none")
}
