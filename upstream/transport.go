package upstream

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// transportKey says when two settings may share a transport, and so its open connections.
type transportKey struct {
	base    base
	proxy   string
	connect time.Duration
	header  time.Duration
	pool    Pool
	tls     TLS
	files   [sha256.Size]byte // of the contents of the TLS files
}

// tlsFiles are the contents of the files that TLS names.
type tlsFiles struct{ ca, cert, key []byte }

func (t *TLS) read(f *faults) (files tlsFiles) {
	for _, x := range []struct {
		name string
		path string
		into *[]byte
	}{{"ca_file", t.CAFile, &files.ca}, {"cert_file", t.CertFile, &files.cert}, {"key_file", t.KeyFile, &files.key}} {
		if x.path == "" {
			continue
		}
		b, err := os.ReadFile(x.path)
		if err != nil {
			f.add("tls."+x.name, "%v", err)
		}
		*x.into = b
	}
	return files
}

func (f *tlsFiles) hash() [sha256.Size]byte {
	h := sha256.New()
	for _, b := range [][]byte{f.ca, f.cert, f.key} {
		fmt.Fprintf(h, "%d:", len(b))
		h.Write(b)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (t *TLS) config(files tlsFiles, f *faults) *tls.Config {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify,
	}
	if files.ca != nil {
		c.RootCAs = x509.NewCertPool()
		f.check(c.RootCAs.AppendCertsFromPEM(files.ca), "tls.ca_file", "%s holds no PEM certificate", t.CAFile)
	}
	if files.cert != nil && files.key != nil {
		cert, err := tls.X509KeyPair(files.cert, files.key)
		if err != nil {
			f.add("tls.cert_file", "certificate and key can't be used: %v", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c
}

// pooled is a transport with the number of calls that hold it, so that its connections go when a
// reload has replaced it and the last call has ended.
type pooled struct {
	http.RoundTripper
	key     transportKey
	calls   atomic.Int64
	retired atomic.Bool
}

func (p *pooled) acquire() { p.calls.Add(1) }

func (p *pooled) release() {
	if p.calls.Add(-1) == 0 && p.retired.Load() {
		p.closeIdle()
	}
}

// retire closes idle connections now, and those in use once they are not.
func (p *pooled) retire() {
	p.retired.Store(true)
	p.closeIdle()
}

func (p *pooled) closeIdle() {
	if c, ok := p.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

const (
	keepAliveProbe  = 15 * time.Second // finds dead TCP connections
	http2Ping       = 15 * time.Second // finds dead HTTP/2 connections, on which calls would hang
	continueTimeout = time.Second      // how long a streamed body waits for a 100
)

// newTransport makes the pooled transport of o. conns counts its open connections.
func newTransport(o *Options, files tlsFiles, conns *atomic.Int64, f *faults) http.RoundTripper {
	if o.RoundTripper != nil {
		return o.RoundTripper
	}
	proxy, err := proxyFunc(o.Proxy)
	if err != nil {
		f.add("proxy", "%v", err)
	}
	dialer := &net.Dialer{Timeout: o.Timeouts.Connect, KeepAlive: keepAliveProbe}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!o.Pool.DisableHTTP2)
	return &http.Transport{
		Proxy: proxy,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			conns.Add(1)
			return &countedConn{Conn: c, open: conns}, nil
		},
		TLSClientConfig:        o.TLS.config(files, f),
		TLSHandshakeTimeout:    o.Timeouts.Connect,
		DisableCompression:     true, // bodies pass as they are
		MaxIdleConns:           o.Pool.MaxIdle,
		MaxIdleConnsPerHost:    o.Pool.MaxIdlePerHost,
		MaxConnsPerHost:        o.Pool.MaxPerHost,
		IdleConnTimeout:        o.Pool.IdleTimeout,
		ResponseHeaderTimeout:  o.Timeouts.ResponseHeader,
		ExpectContinueTimeout:  continueTimeout,
		MaxResponseHeaderBytes: maxResponseHeaderBytes,
		Protocols:              &protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: http2Ping, PingTimeout: http2Ping},
	}
}

// maxResponseHeaderBytes bounds an answer's header.
const maxResponseHeaderBytes = 1 << 20

// countedConn takes itself off the count when it is closed.
type countedConn struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

// Close closes the connection.
func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}
