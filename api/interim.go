package api

import (
	"net/http"

	"penstock/request"
)

// WriteInterim passes an interim answer on to the client. What it says is not part of the final
// answer. It must be called on the handler's goroutine.
func (x *exchange) WriteInterim(status int, interim http.Header) {
	if x.w == nil || status <= http.StatusSwitchingProtocols || status > 199 {
		return
	}
	h := x.w.Header()
	own := h.Clone()
	clear(h)
	for name, values := range interim {
		if !request.HopByHop(name) {
			h[name] = values
		}
	}
	x.w.WriteHeader(status)
	clear(h)
	for name, values := range own {
		h[name] = values
	}
}
