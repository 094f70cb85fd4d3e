package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"penstock/observe"
	"penstock/request"
)

// errTotal is the cause of a context that ended by the request's own timeout.
var errTotal = errors.New("the request's timeout passed")

// failure is what becomes of an error of the transport.
type failure struct {
	err     error
	outcome observe.Outcome
	verdict verdict
	// connection: no answer came, and the upstream has probably not begun to work on the call.
	connection bool
}

// kind is one way in which an upstream fails.
type kind struct {
	problem    request.Problem
	token      string // RFC 9209, 2.3
	outcome    observe.Outcome
	detail     string
	connection bool
}

var (
	kindDNS         = kind{request.ProblemUpstreamDown, "dns_error", observe.OutcomeDown, "its host name can't be resolved; check base_url and the resolver", true}
	kindDNSTimeout  = kind{request.ProblemUpstreamTimeout, "dns_timeout", observe.OutcomeTimeout, "resolving its host name took too long; check the resolver, or raise timeouts.connect", true}
	kindRefused     = kind{request.ProblemUpstreamDown, "connection_refused", observe.OutcomeDown, "it refuses connections; check that it runs and that base_url has the right port", true}
	kindConnectSlow = kind{request.ProblemUpstreamTimeout, "connection_timeout", observe.OutcomeTimeout, "connecting took too long; check the network, or raise timeouts.connect", true}
	kindUnroutable  = kind{request.ProblemUpstreamDown, "destination_ip_unroutable", observe.OutcomeDown, "no network route leads to it; check base_url and the network", true}
	kindConnect     = kind{request.ProblemUpstreamDown, "destination_unavailable", observe.OutcomeDown, "no connection could be made; check base_url, proxy and the network", true}
	kindTerminated  = kind{request.ProblemUpstreamDown, "connection_terminated", observe.OutcomeDown, "it closed the connection before it answered; if that happens to idle connections, set pool.idle_timeout shorter than its own", true}
	kindCertificate = kind{request.ProblemUpstreamDown, "tls_certificate_error", observe.OutcomeDown, "its certificate is not trusted; check base_url, tls.ca_file and tls.server_name", false}
	kindTLS         = kind{request.ProblemUpstreamDown, "tls_protocol_error", observe.OutcomeDown, "the TLS handshake failed; check that base_url has the right scheme and port, and the tls settings", false}
	kindTLSAlert    = kind{request.ProblemUpstreamDown, "tls_alert_received", observe.OutcomeDown, "it refused the TLS handshake; check tls.cert_file and tls.server_name", false}
	kindHeaderSlow  = kind{request.ProblemUpstreamTimeout, "http_response_timeout", observe.OutcomeTimeout, "it did not begin to answer in time; raise timeouts.response_header if it may take longer", false}
	kindHeaderLarge = kind{request.ProblemUpstreamInvalid, "http_response_header_section_size", observe.OutcomeError, "the header of its answer is over 1 MiB", false}
	kindProtocol    = kind{request.ProblemUpstreamInvalid, "http_protocol_error", observe.OutcomeError, "its answer is not valid HTTP; check that base_url has the right scheme and port", false}
	kindUpgrade     = kind{request.ProblemUpstreamInvalid, "http_upgrade_failed", observe.OutcomeError, "it switched protocols without being asked to", false}
	kindCoding      = kind{request.ProblemUpstreamInvalid, "http_response_transfer_coding", observe.OutcomeError, "the chunked coding of its answer is broken", false}
	kindIncomplete  = kind{request.ProblemUpstreamInvalid, "http_response_incomplete", observe.OutcomeError, "its answer ended too early", false}
)

func (k *kind) failure(x *exchange, cause error) failure {
	return failure{
		err: &request.Error{
			Problem: k.problem, ProxyStatus: k.token, Upstream: x.name(), Err: cause,
			Timing: request.Timing{Upstream: time.Since(x.began)},
			Detail: fmt.Sprintf("upstream %q: %s", x.name(), k.detail),
		},
		outcome: k.outcome, verdict: verdictFailure, connection: k.connection,
	}
}

// callFailure classes an error that came before the answer's header.
func (x *exchange) callFailure(err error) failure {
	if f, ok := x.ownFailure(); ok {
		return f
	}
	k := connectKind(err)
	if k == nil {
		k = protocolKind(err)
	}
	return k.failure(x, err)
}

// slowClient is the failure of a request whose timeout passed while its client was waited for. It
// says nothing about the upstream: slow clients must not open its breaker.
func (x *exchange) slowClient(p request.Problem, what string) failure {
	return failure{outcome: observe.OutcomeCanceled, err: &request.Error{
		Problem: p, Upstream: x.name(), Err: errTotal, Timing: request.Timing{Upstream: time.Since(x.began)},
		Detail: fmt.Sprintf("%s within %s; send or read faster, or raise timeouts.total or the route's timeout", what, x.total),
	}}
}

// bodyFailure classes an error of reading the answer's body. late: the request had ended before
// Read was called, so it was not the upstream that was waited for.
func (x *exchange) bodyFailure(err error, late bool) failure {
	if late && x.parent.Err() == nil && context.Cause(x.ctx) == errTotal {
		return x.slowClient(request.ProblemUpstreamTimeout, "the answer was not read to its end")
	}
	if f, ok := x.ownFailure(); ok {
		return f
	}
	k := &kindIncomplete
	if s := err.Error(); !errors.Is(err, io.ErrUnexpectedEOF) && (strings.Contains(s, "chunk") || strings.Contains(s, "trailer")) {
		k = &kindCoding
	}
	return k.failure(x, err)
}

// ownFailure tells the ends that lie on our side of the wire: the caller has gone, its body broke
// off, or the request's timeout passed.
func (x *exchange) ownFailure() (failure, bool) {
	if x.parent.Err() != nil {
		return failure{err: x.abandoned(), outcome: observe.OutcomeCanceled}, true
	}
	if x.stream != nil {
		if err := x.stream.failed(); err != nil {
			return failure{err: x.badStream(err), outcome: observe.OutcomeCanceled}, true
		}
	}
	if context.Cause(x.ctx) == errTotal {
		if x.stream != nil && x.stream.waiting.Load() {
			return x.slowClient(request.ProblemBadRequest, "the request's body did not arrive in full"), true
		}
		k := kind{
			request.ProblemUpstreamTimeout, "http_response_timeout", observe.OutcomeTimeout,
			fmt.Sprintf("it did not answer in full within %s; raise timeouts.total or the route's timeout if it may take longer", x.total), false,
		}
		return k.failure(x, errTotal), true
	}
	return failure{}, false
}

// abandoned is the error for a caller whose context ended.
func (x *exchange) abandoned() error {
	cause := context.Cause(x.parent)
	if e := (*request.Error)(nil); errors.As(cause, &e) {
		return fmt.Errorf("upstream %q: %w", x.name(), cause)
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return &request.Error{
			Problem: request.ProblemDeadline, Upstream: x.name(), Err: cause,
			Timing: request.Timing{Upstream: time.Since(x.began)},
			Detail: fmt.Sprintf("upstream %q had not answered in full when the request's deadline passed", x.name()),
		}
	}
	return fmt.Errorf("upstream %q: the call was given up: %w", x.name(), cause)
}

// badStream is the error for a request body that could not be read to its end.
func (x *exchange) badStream(err error) error {
	if e := (*request.Error)(nil); errors.As(err, &e) {
		return err
	}
	e := &request.Error{Problem: request.ProblemBadRequest, Upstream: x.name(), Err: err, Detail: "the request's body could not be read to its end"}
	if m := (*http.MaxBytesError)(nil); errors.As(err, &m) {
		e.Problem = request.ProblemBodyTooLarge
		e.Detail = fmt.Sprintf("the request's body is over %d bytes; raise server.max_body_bytes if it is right", m.Limit)
	}
	return e
}

// connectKind classes what goes wrong before bytes flow, nil if it is something else.
func connectKind(err error) *kind {
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
		if dns.IsTimeout {
			return &kindDNSTimeout
		}
		return &kindDNS
	}
	var timeout net.Error
	slow := errors.As(err, &timeout) && timeout.Timeout()
	op := (*net.OpError)(nil)
	dialing := errors.As(err, &op) && op.Op == "dial"
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return &kindRefused
	case slow && (dialing || strings.Contains(err.Error(), "TLS handshake timeout")):
		return &kindConnectSlow
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return &kindUnroutable
	case slow:
		return &kindHeaderSlow
	case dialing:
		return &kindConnect
	}
	return tlsKind(err)
}

func tlsKind(err error) *kind {
	verify := (*tls.CertificateVerificationError)(nil)
	unknown, host, invalid := x509.UnknownAuthorityError{}, x509.HostnameError{}, x509.CertificateInvalidError{}
	if errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid) {
		return &kindCertificate
	}
	var alert tls.AlertError
	if errors.As(err, &alert) {
		return &kindTLSAlert
	}
	var record tls.RecordHeaderError
	s := err.Error()
	switch {
	case strings.Contains(s, "remote error: tls:"):
		return &kindTLSAlert
	case errors.As(err, &record), strings.Contains(s, "tls:"), strings.Contains(s, "HTTP response to HTTPS client"):
		return &kindTLS
	}
	return nil
}

// protocolKind classes what goes wrong between the request and the answer's header. net/http has
// no types for most of it, so its words must do.
func protocolKind(err error) *kind {
	s := err.Error()
	switch {
	case strings.Contains(s, "malformed"):
		return &kindProtocol
	case strings.Contains(s, "server response headers exceeded"), strings.Contains(s, "header list too large"), strings.Contains(s, "header list larger"):
		return &kindHeaderLarge
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, net.ErrClosed), strings.Contains(s, "connection reset"), strings.Contains(s, "broken pipe"),
		strings.Contains(s, "server closed idle connection"), strings.Contains(s, "client connection lost"), strings.Contains(s, "GOAWAY"):
		return &kindTerminated
	}
	return &kindProtocol
}
