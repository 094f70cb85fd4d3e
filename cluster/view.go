package cluster

import (
	"encoding/json"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"
)

// Member is a node as the others see it.
type Member struct {
	Node string `json:"node"`
	// Self marks the node that answers.
	Self   bool `json:"self"`
	Leader bool `json:"leader"`
	// State is "up", "silent" (nothing was heard of it for half a lease), "gone" (for a lease) or "unknown"
	// (the node that answers is out of touch itself).
	State string `json:"state"`
	// Run names the process.
	Run     string    `json:"run"`
	Started time.Time `json:"started"`
	// LastSeen is when the engine took its last beat, SilentSeconds how long ago it was heard here.
	LastSeen      time.Time       `json:"last_seen"`
	SilentSeconds float64         `json:"silent_seconds"`
	Info          json.RawMessage `json:"info,omitempty"`
}

// View is the whole cluster.
type View struct {
	Node string `json:"node"`
	// Leader is the name of the node that leads; empty: none is known.
	Leader string `json:"leader"`
	// Leads: it is this one, for certain.
	Leads bool `json:"leads"`
	// InTouch: this node's beats come back to it.
	InTouch bool          `json:"in_touch"`
	Detail  string        `json:"detail,omitempty"`
	Lease   time.Duration `json:"lease_ns"`
	Nodes   []Member      `json:"nodes"`
}

// inTouch reports whether our beats come back. The caller holds mu.
func (n *Nodes) inTouch(now time.Time) bool {
	return n.current && !n.since.IsZero() && now.Sub(n.returned) <= n.o.Lease/2
}

// gone reports whether a process is no more, for certain. The caller holds mu.
func (n *Nodes) gone(run string, now time.Time) bool {
	if run == n.run || !n.inTouch(now) || now.Sub(n.since) <= n.o.Lease {
		return false
	}
	for _, m := range n.members {
		if m.Run == run {
			heard := m.heard
			if n.since.After(heard) {
				heard = n.since
			}
			return now.Sub(heard) > n.o.Lease
		}
	}
	return true
}

// leads reports whether this node leads and nobody else can believe that he does. The caller holds mu.
func (n *Nodes) leads(now time.Time) bool {
	return n.lead.Run == n.run && !n.returned.IsZero() && now.Sub(n.returned) < n.o.Lease-n.o.Lease/10
}

// Leads reports whether this node leads: never two nodes do at once, as far as their clocks run at one
// speed.
func (n *Nodes) Leads() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leads(time.Now())
}

// Gone reports whether a process is no more: then what it held may be taken over. False if that is not
// certain.
func (n *Nodes) Gone(run string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.gone(run, time.Now())
}

// InTouch reports whether this node's beats come back to it.
func (n *Nodes) InTouch() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.inTouch(time.Now())
}

// Mine reports whether a thing named so falls to this node among those that are up: each thing to one, and
// few change hands when a node comes or goes (rendezvous hashing, Thaler and Ravishankar 1998). It is a
// hint; two nodes may differ for a while.
func (n *Nodes) Mine(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	own := weight(n.o.Node, name)
	for node, m := range n.members {
		if node != n.o.Node && now.Sub(m.heard) <= n.o.Lease && weight(node, name) > own {
			return false
		}
	}
	return true
}

func weight(node, name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(node))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(name))
	// FNV's last bytes move its high bits little; this mixes them (MurmurHash3's finalizer).
	v := h.Sum64()
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	v *= 0xc4ceb9fe1a85ec53
	return v ^ v>>33
}

// signature changes when who is there changes. The caller holds mu.
func (n *Nodes) signature(now time.Time) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(n.members)) {
		b.WriteString(name + " " + n.members[name].Run + " " + n.state(name, now) + "\n")
	}
	return b.String() + n.lead.Run
}

// state is a node's state. The caller holds mu.
func (n *Nodes) state(name string, now time.Time) string {
	m := n.members[name]
	switch {
	case m.Run == n.run:
		return "up"
	case !n.inTouch(now):
		return "unknown"
	case n.gone(m.Run, now):
		return "gone"
	case now.Sub(m.heard) > n.o.Lease/2:
		return "silent"
	}
	return "up"
}

// View tells of all nodes, in order of name.
func (n *Nodes) View() View {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	v := View{Node: n.o.Node, Leader: n.lead.Node, Leads: n.leads(now), InTouch: n.inTouch(now), Detail: n.fault, Lease: n.o.Lease, Nodes: []Member{}}
	for _, name := range slices.Sorted(maps.Keys(n.members)) {
		m := n.members[name]
		v.Nodes = append(v.Nodes, Member{
			Node: name, Self: m.Run == n.run, Leader: m.Run == n.lead.Run, State: n.state(name, now), Run: m.Run, Started: m.Started,
			LastSeen: m.at, SilentSeconds: max(0, now.Sub(m.heard).Seconds()), Info: m.Info,
		})
	}
	return v
}
