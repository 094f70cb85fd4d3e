package upstream

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// secretParam is a query parameter that carries a credential.
type secretParam struct {
	name    string // decoded
	encoded string // name=value, encoded
}

// resolve reads the secret. Its errors name the setting and the source, never the secret.
func (c *Credential) resolve() (string, error) {
	var secret string
	if c.Env != "" {
		v, ok := os.LookupEnv(c.Env)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", c.Env)
		}
		secret = v
		if secret == "" {
			return "", fmt.Errorf("the environment variable %s is empty", c.Env)
		}
	} else {
		b, err := os.ReadFile(c.File)
		if err != nil {
			return "", fmt.Errorf("can't read the secret: %w", err)
		}
		secret = strings.TrimSpace(string(b))
		if secret == "" {
			return "", fmt.Errorf("the file %s is empty", c.File)
		}
	}
	secret = c.Prefix + secret
	if c.Header != "" && !validFieldValue(secret) {
		return "", fmt.Errorf("the secret has characters that the header %s can't carry (a line break?)", c.Header)
	}
	return secret, nil
}

// readCredentials resolves all credentials into what outgoing and query inject.
func (s *settings) readCredentials(f *faults) {
	s.secretHeaders = make(map[string][]string, len(s.opts.Credentials))
	for i := range s.opts.Credentials {
		c := &s.opts.Credentials[i]
		secret, err := c.resolve()
		if err != nil {
			f.add(fmt.Sprintf("credentials[%d]", i), "%v", err)
			continue
		}
		if c.Header != "" {
			s.secretHeaders[http.CanonicalHeaderKey(c.Header)] = []string{secret}
			continue
		}
		s.secretParams = append(s.secretParams, secretParam{
			name: c.Query, encoded: url.QueryEscape(c.Query) + "=" + url.QueryEscape(secret),
		})
	}
}

// query puts the credentials in the place of what the client sent by their names. The rest stays
// byte for byte.
func (s *settings) query(raw string) string {
	if len(s.secretParams) == 0 {
		return raw
	}
	var b strings.Builder
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" || s.isSecretParam(part) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(part)
	}
	for i := range s.secretParams {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(s.secretParams[i].encoded)
	}
	return b.String()
}

func (s *settings) isSecretParam(part string) bool {
	// Some servers take ";" for "&", so a part is looked through at both.
	for piece := range strings.SplitSeq(part, ";") {
		name, _, _ := strings.Cut(piece, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		for i := range s.secretParams {
			if s.secretParams[i].name == name {
				return true
			}
		}
	}
	return false
}
