package request

// HopByHop reports whether a header, by its canonical name, belongs to one connection only and is never
// passed on (RFC 9110, section 7.6.1; RFC 7540, section 3.2.1). What a Connection header names besides
// is for the caller to drop.
func HopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings":
		return true
	}
	return false
}
