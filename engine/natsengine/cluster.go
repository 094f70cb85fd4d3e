package natsengine

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/engine"
)

// ClusterOptions set up an Engine on NATS servers that run elsewhere.
type ClusterOptions struct {
	// URL is one server or several, with commas between: nats://, tls://, ws:// or wss://, host and port,
	// and perhaps user:password@. One that answers is enough; it tells of the others. Required.
	URL string
	// Name is how the connection is called in the servers' monitoring; empty: penstock.
	Name string
	// Prefix begins the names of all streams, so that several deployments can share an account: a-z, 0-9,
	// _ and -, at most 32 long. Empty: none.
	Prefix string
	// Replicas is on how many servers each stream is kept: 1 to 5, default 3. Three bear the loss of one.
	Replicas int
	// User and Password, or Token, or CredentialsFile (user JWT and seed, as nsc writes it), or NKeyFile (a
	// user seed) say who connects.
	User, Password, Token     string
	CredentialsFile, NKeyFile string
	// CAFile, CertFile and KeyFile are PEM files: whom to trust instead of the system, and the client's
	// certificate. ServerName, if set, is the name expected of the servers. TLS is used when a URL says tls://
	// or wss://, when any of these is set, and when the servers demand it.
	CAFile, CertFile, KeyFile, ServerName string
	// InsecureSkipVerify takes any certificate.
	InsecureSkipVerify bool
	// Log takes what happens to the connection; nil: none.
	Log *slog.Logger
	// OnChange, if not nil, is called when the connection comes or goes. It must not block.
	OnChange func()
}

// DefaultReplicas is the default of ClusterOptions.Replicas.
const DefaultReplicas = 3

const (
	// connectTimeout is how long one server may take to answer a connection.
	connectTimeout = 3 * time.Second
	// reconnectWait is the pause before a server is tried again, with as much by chance.
	reconnectWait = 500 * time.Millisecond
)

// remote is what an Engine knows of its cluster.
type remote struct {
	o      ClusterOptions
	prefix string
	// failing is why the last call failed, while the servers don't do what they are asked; nil: they do.
	failing atomic.Pointer[string]
	// passed is when a call last found the cluster away, in Unix nanoseconds.
	passed atomic.Int64
}

func (o *ClusterOptions) ensureDefaults() error {
	if o.URL == "" {
		return errors.New("natsengine: ClusterOptions needs URL")
	}
	for one := range strings.SplitSeq(o.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Host == "" {
			return errors.New("a NATS server is written as nats://HOST:4222 (or tls://, ws://, wss://), several with commas between")
		}
	}
	o.Name, o.Replicas = cmp.Or(o.Name, "penstock"), cmp.Or(o.Replicas, DefaultReplicas)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Connect returns an Engine on a cluster. That no server answers is no error: it is tried for ever, and
// until then every call fails with engine.ErrUnavailable. A cluster that answers and refuses is an error.
func Connect(ctx context.Context, o ClusterOptions) (*Engine, error) {
	if err := o.ensureDefaults(); err != nil {
		return nil, err
	}
	e := &Engine{remote: &remote{o: o}, quit: make(chan struct{}), closed: make(chan struct{})}
	e.o.Log = o.Log
	if o.Prefix != "" {
		e.remote.prefix = o.Prefix + "_"
	}
	options, err := e.remote.options()
	if err != nil {
		return nil, err
	}
	e.conn, err = nats.Connect(o.URL, options...)
	switch {
	case err == nil:
	case refused(err):
		return nil, fmt.Errorf("the cluster refuses: %w", err)
	default:
		o.Log.Warn("engine: no server of the cluster answers; it is tried on and on", "error", err)
		if e.conn, err = nats.Connect(o.URL, append(options, nats.RetryOnFailedConnect(true))...); err != nil {
			return nil, fmt.Errorf("connect to the cluster: %w", err)
		}
	}
	if e.js, err = jetstream.New(e.conn, jetstream.WithDefaultTimeout(callTimeout)); err != nil {
		e.conn.Close()
		return nil, err
	}
	if err := e.greet(ctx); err != nil {
		e.conn.Close()
		return nil, err
	}
	return e, nil
}

// greet asks the servers for JetStream. That they are away is no error.
func (e *Engine) greet(ctx context.Context) error {
	err := e.call(ctx, func(ctx context.Context) error {
		_, err := e.js.AccountInfo(ctx)
		return err
	})
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("the cluster's account has no JetStream: switch it on for the account: %w", err)
	case errors.Is(err, engine.ErrUnavailable):
		e.o.Log.Warn("engine: the cluster is not available yet; what needs it waits", "error", err)
		return nil
	}
	return err
}

// refused reports errors of a connection that trying again won't mend.
func refused(err error) bool {
	for _, known := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrSecureConnRequired, nats.ErrSecureConnWanted} {
		if errors.Is(err, known) {
			return true
		}
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, other := errors.AsType[x509.HostnameError](err)
	return unknown || other
}

// options are those of the connection.
func (r *remote) options() ([]nats.Option, error) {
	o, log := &r.o, r.o.Log
	changed := func() {
		if o.OnChange != nil {
			o.OnChange()
		}
	}
	options := []nats.Option{
		nats.Name(o.Name), nats.Timeout(connectTimeout), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
		// What can't be sent now fails now; a caller that was told so must not find it done later.
		nats.ReconnectBufSize(-1),
		nats.ConnectHandler(func(c *nats.Conn) {
			log.Info("engine: connected to the cluster", "server", c.ConnectedServerName())
			changed()
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			log.Warn("engine: the connection to the cluster is lost; requests go on, it is tried again", "error", err)
			changed()
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			log.Info("engine: connected to the cluster again", "server", c.ConnectedServerName())
			r.failing.Store(nil)
			changed()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("engine: the connection reports a fault", "error", err)
		}),
	}
	who, err := r.identity()
	if err != nil {
		return nil, err
	}
	secure, err := r.tls()
	if err != nil {
		return nil, err
	}
	return append(append(options, who...), secure...), nil
}

func (r *remote) identity() ([]nats.Option, error) {
	o := &r.o
	switch {
	case o.CredentialsFile != "":
		return []nats.Option{nats.UserCredentials(o.CredentialsFile)}, nil
	case o.NKeyFile != "":
		option, err := nats.NkeyOptionFromSeed(o.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("the user seed %s: %w", o.NKeyFile, err)
		}
		return []nats.Option{option}, nil
	case o.Token != "":
		return []nats.Option{nats.Token(o.Token)}, nil
	case o.User != "":
		return []nats.Option{nats.UserInfo(o.User, o.Password)}, nil
	}
	return nil, nil
}

func (r *remote) tls() (options []nats.Option, err error) {
	o := &r.o
	if o.ServerName != "" || o.InsecureSkipVerify {
		options = append(options, nats.Secure(&tls.Config{
			MinVersion: tls.VersionTLS12, ServerName: o.ServerName, InsecureSkipVerify: o.InsecureSkipVerify,
		}))
	}
	if o.CAFile != "" {
		options = append(options, nats.RootCAs(o.CAFile))
	}
	if o.CertFile != "" {
		options = append(options, nats.ClientCert(o.CertFile, o.KeyFile))
	}
	return options, nil
}

// fault says why the cluster can't be used now; "": it can.
func (r *remote) fault(c *nats.Conn) string {
	if !c.IsConnected() {
		if err := c.LastError(); err != nil {
			return "no server of the cluster answers (cluster.url): " + err.Error()
		}
		return "no server of the cluster answers (cluster.url)"
	}
	if text := r.failing.Load(); text != nil {
		return *text
	}
	return ""
}

// answered notes how a call went.
func (r *remote) answered(err error) {
	if !away(err) {
		if r.failing.Load() != nil {
			r.failing.Store(nil)
		}
		return
	}
	text := "the cluster does not do what it is asked: " + err.Error()
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		text = "the cluster's servers answer, but JetStream does not; start them with JetStream, or wait until they have a leader"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		text = "the cluster did not answer in time; it may have no leader"
	}
	r.failing.Store(&text)
	r.passed.Store(time.Now().UnixNano())
}

// explain adds to an error of opening a stream what to do about it.
func (e *Engine) explain(err error) error {
	if fault, ok := errors.AsType[*jetstream.APIError](err); ok && e.remote != nil && fault.ErrorCode == codeNotClustered {
		return fmt.Errorf("the server of cluster.url stands alone and can't keep %d replicas; set cluster.replicas to 1, or name a cluster: %w",
			e.remote.o.Replicas, err)
	}
	return err
}

// codeNotClustered is the server's JSStreamReplicasNotSupportedErr.
const codeNotClustered = 10074
