package configs

import "strings"

// upstream checks what concerns several keys of an upstream.
func (c *checks) upstream(path string, u Upstream) {
	c.workers(path+".workers", u.Workers)
	c.policy(path+".cache", u.Cache)
	if (u.TLS.CertFile == "") != (u.TLS.KeyFile == "") {
		c.fault(path+".tls", "cert_file and key_file belong together; set both or none")
	}
	if u.TLS != (TLS{}) && strings.HasPrefix(u.BaseURL, "http://") {
		c.fault(path+".tls", "has no effect on an http:// upstream; make base_url https:// or remove it")
	}
	if u.Retry.BaseDelay > u.Retry.MaxDelay {
		c.fault(path+".retry.base_delay", "must be at most max_delay (%s), not %s", u.Retry.MaxDelay, u.Retry.BaseDelay)
	}
	for i, cred := range u.Credentials {
		c.credential(indexed(path+".credentials", i), cred)
	}
	for name, value := range u.Headers {
		if strings.ContainsAny(value, "\r\n\x00") {
			c.fault(path+".headers."+name, "must not hold line breaks or NUL")
		}
	}
}

func (c *checks) credential(path string, cred Credential) {
	switch {
	case cred.Header == "" && cred.Query == "":
		c.fault(path, "needs header or query, to say where the secret goes")
	case cred.Header != "" && cred.Query != "":
		c.fault(path, "has header and query; keep one, or make two credentials of it")
	case framingHeader(cred.Header):
		c.fault(path+".header", "the header %s is set by the connection itself and can't be configured", cred.Header)
	}
	switch {
	case cred.Env == "" && cred.File == "":
		c.fault(path, "needs env or file, to say where the secret comes from")
	case cred.Env != "" && cred.File != "":
		c.fault(path, "has env and file; keep one")
	}
	c.envName(path+".env", cred.Env)
	if strings.ContainsAny(cred.Prefix, "\r\n\x00") {
		c.fault(path+".prefix", "must not hold line breaks or NUL")
	}
}
