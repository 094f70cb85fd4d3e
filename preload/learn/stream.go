package learn

const (
	// sessionLags is how many requests back a key is credited to in its session.
	sessionLags = 4
	// groupLags is how many requests of a tenant are remembered.
	groupLags = 256
	// orders is the longest context, in keys.
	orders = 3
)

// step is one request of a session: the contexts that ended with it.
type step struct {
	key      uint64
	at       int64
	contexts [orders]uint64 // 0: none
}

// session is the latest requests of a client.
type session struct {
	ring [sessionLags]step
	n    uint32
}

// group is the latest requests of a tenant.
type group struct {
	ring [groupLags]groupStep
	n    uint32
	far  uint32 // the first step that is not a call's time ago
	only uint64 // the session of the latest requests
	same uint32 // how many of them
}

type groupStep struct {
	key uint64
	at  int64
}

// back returns the step i requests ago.
func (s *session) back(i uint32) *step { return &s.ring[(s.n-i)%sessionLags] }

func (m *Model) session(h uint64) *session {
	slot := m.sessions.get(h)
	if slot < 0 {
		slot, _ = m.sessions.add(h)
		m.rings[slot] = session{}
	}
	return &m.rings[slot]
}

func (m *Model) group(h uint64) *group {
	slot := m.groups.get(h)
	if slot < 0 {
		slot, _ = m.groups.add(h)
		m.streams[slot] = group{}
	}
	return &m.streams[slot]
}

// push adds a request to a session and returns its step.
func (s *session) push(a *Access) *step {
	st := step{key: a.Key, at: a.At}
	h := join(a.Key, a.Group)
	st.contexts[0] = h
	for i := uint32(1); i < orders && i <= s.n; i++ {
		p := s.back(i)
		if p.key == a.Key {
			break // a key asked for again says nothing more
		}
		h = join(h, p.key)
		st.contexts[i] = h
	}
	at := &s.ring[s.n%sessionLags]
	*at = st
	if s.n++; s.n >= 1<<30 {
		s.n = sessionLags
	}
	return at
}

// associated is the context of a key in the stream of its tenant.
func associated(key, tenant uint64) uint64 { return join(join(tenant, key), 1) }

func (g *group) push(a *Access) {
	g.ring[g.n%groupLags] = groupStep{a.Key, a.At}
	if g.n++; g.n >= 1<<30 {
		g.n, g.far = groupLags, 0
	}
	if a.Session != g.only {
		g.only, g.same = a.Session, 0
	}
	g.same = min(g.same+1, groupLags)
}

// Lags at which a key is credited to the requests of its tenant: the nearest, and from a call's time ago.
var (
	nearLags = [...]uint32{1, 2, 3, 4, 6, 8}
	farLags  = [...]uint32{0, 1, 2, 4, 8, 16}
)

// credit takes in for the contexts before it that a key was asked for which was not in the cache.
func (m *Model) credit(s *session, g *group, a Access) {
	for i := uint32(1); i <= min(s.n, sessionLags); i++ {
		st := s.back(i)
		if st.key == a.Key || m.o.Off[Sequence] {
			continue
		}
		for _, c := range st.contexts {
			if c != 0 {
				m.rules.credit(c, a.Key, a.At-st.at)
			}
		}
	}
	if m.o.Off[Association] {
		return
	}
	// Where one client is the whole stream, the near is in its session already.
	if g.same < sessionLags {
		for _, lag := range nearLags {
			m.creditGroup(g, &a, lag)
		}
	}
	if a.Latency <= 0 {
		return
	}
	if g.n-g.far > groupLags {
		g.far = g.n - groupLags
	}
	for g.far < g.n && g.ring[g.far%groupLags].at <= a.At-a.Latency {
		g.far++
	}
	for _, lag := range farLags {
		m.creditGroup(g, &a, g.n-g.far+1+lag)
	}
}

func (m *Model) creditGroup(g *group, a *Access, lag uint32) {
	if lag > g.n || lag > groupLags {
		return
	}
	if st := &g.ring[(g.n-lag)%groupLags]; st.key != a.Key {
		m.rules.credit(associated(st.key, a.Group), a.Key, a.At-st.at)
	}
}
