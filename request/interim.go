package request

import "net/http"

// InterimWriter takes interim answers (RFC 9110, section 15.2), but not 100 and 101.
//
// The cache calls it on the goroutine that called Do, before Do returns. Behind the cache it may be
// called on any goroutine, and then neither blocks nor keeps the header.
type InterimWriter interface {
	WriteInterim(status int, header http.Header)
}
