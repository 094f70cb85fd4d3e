package request

// Clone returns a copy of r for another owner, such as a shared upstream call that may outlive the
// client who began it. Header is copied; Params and Data are shared, being read-only by then. A
// Stream is not copied, since it can be sent only once. The copy has not started, and has
// neither an OnPromote function nor Interim.
func (r *Request) Clone() *Request {
	c := &Request{
		ID: r.ID, Route: r.Route, Params: r.Params,
		Method: r.Method, Path: r.Path, RawQuery: r.RawQuery,
		Header: r.Header.Clone(), Data: r.Data,
		Key: r.Key, Tenant: r.Tenant, Client: r.Client, Arrived: r.Arrived, Deadline: r.Deadline,
		Background: r.Background, Span: r.Span, NewTrace: r.NewTrace,
	}
	c.urgency.Store(r.urgency.Load())
	c.joined.Store(r.joined.Load())
	return c
}

// Join records that a real request of urgency u waits for r now: r becomes at least that urgent,
// and stops being background work even where that changes no urgency. Safe for concurrent use.
func (r *Request) Join(u Urgency) {
	first := r.Background && r.joined.CompareAndSwap(false, true)
	if r.Promote(u) || !first {
		return
	}
	r.mu.Lock()
	f := r.onPromote
	r.mu.Unlock()
	if f != nil {
		f(r.Urgency())
	}
}

// InBackground reports whether r is background work that no real request has joined. Safe for
// concurrent use; a stage that queues requests asks this, not Background.
func (r *Request) InBackground() bool { return r.Background && !r.joined.Load() }
