package servers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// nginxConfig has the lock against stampedes, background updates and stale answers on failures, as
// its manual advises, and no access log.
const nginxConfig = `%[5]s
daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log %[1]s/nginx-error.log crit;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path %[1]s/nginx-body;
  proxy_temp_path %[1]s/nginx-proxy;
  fastcgi_temp_path %[1]s/nginx-fastcgi;
  uwsgi_temp_path %[1]s/nginx-uwsgi;
  scgi_temp_path %[1]s/nginx-scgi;
  proxy_cache_path %[1]s/nginx-cache levels=1:2 keys_zone=c:64m max_size=2g use_temp_path=off;
  upstream origin { server %[3]s; keepalive 512; }
  server {
    listen %[2]s;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_read_timeout %[4]s;
      proxy_cache c;
      proxy_cache_revalidate on;
      proxy_cache_lock on;
      proxy_cache_background_update on;
      proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504;
    }
  }
}
`

// Nginx starts nginx with one worker.
func Nginx(p Place, readTimeout string) (*Server, error) {
	binary, err := find("nginx", "/usr/sbin/nginx")
	if err != nil {
		return nil, &Missing{"nginx", "nginx-light"}
	}
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // its own user may not enter our folder
	}
	path := filepath.Join(p.Dir, "nginx.conf")
	text := fmt.Sprintf(nginxConfig, p.Dir, listen, p.Origin, readTimeout, user)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s, err := launch(p, "nginx", "http://"+listen, binary, "-p", p.Dir, "-c", path)
	if err == nil {
		s.Store = filepath.Join(p.Dir, "nginx-cache")
	}
	return s, err
}

// find looks for a binary on the path and where Debian puts it.
func find(name, usual string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath(usual)
}
