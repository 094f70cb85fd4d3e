package tuner

import "slices"

// The ledgers of several nodes are one: each node adds what the others decided to its own.

// Named gives the ledger the name of its node: decisions carry it from then on.
func (l *Ledger) Named(node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.node = node
}

// Merge takes in a decision of another node, as it is there now. It reports whether that was news. A
// decision of this node, or one without a node, is left as it is here.
func (l *Ledger) Merge(d Decision) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.Node == "" || d.Node == l.node {
		return false
	}
	at := len(l.decisions)
	for i, old := range slices.Backward(l.decisions) {
		if old.ID == d.ID {
			c := d.copy()
			*old = c
			l.touch(old)
			return true
		}
		if old.Time.After(d.Time) {
			at = i
		}
	}
	if len(l.decisions) >= l.size && at == 0 {
		return false // older than all that there is room for
	}
	before := len(l.decisions)
	l.makeRoom()
	at -= before - len(l.decisions)
	c := d.copy()
	l.decisions = slices.Insert(l.decisions, max(at, 0), &c)
	l.touch(&c)
	return true
}
