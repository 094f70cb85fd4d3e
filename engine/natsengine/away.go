package natsengine

import (
	"context"
	"errors"
	"net/http"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// awayErrors are those of a server that can't be reached or has no leader now.
var awayErrors = []error{
	context.DeadlineExceeded, nats.ErrTimeout, nats.ErrConnectionClosed, nats.ErrDisconnected, nats.ErrNoResponders,
	nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, nats.ErrStaleConnection, nats.ErrNoServers,
	jetstream.ErrNoStreamResponse, jetstream.ErrJetStreamNotEnabled,
}

// codeNoPeers is the server's JSClusterNoPeersErrF: too few servers are up to place the replicas.
const codeNoPeers = 10005

// away reports whether a call failed because the server is away, so that it may go well later.
func away(err error) bool {
	if err == nil {
		return false
	}
	for _, known := range awayErrors {
		if errors.Is(err, known) {
			return true
		}
	}
	if e, ok := errors.AsType[*jetstream.APIError](err); ok {
		// No leader, no quorum, shutting down.
		return e.Code == http.StatusServiceUnavailable && e.ErrorCode != codeStreamStoreFailed || e.ErrorCode == codeNoPeers
	}
	return false
}
