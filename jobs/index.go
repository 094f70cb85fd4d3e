package jobs

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"penstock/request"
)

// index is what is known of all jobs without asking the engine. It follows the bucket, and takes in what
// this node writes at once; the higher revision counts.
type index struct {
	mu      sync.Mutex // guards what follows
	byID    map[string]*entry
	order   []*entry // by time of creation; entries that are gone stay until compact
	gone    int
	counts  map[State]int
	tenants map[string]map[State]int
	backlog backlog
	hooks   map[string]*entry // those whose webhook waits
	running map[string]*entry
	waiters map[string]map[*Watch]bool
}

// entry is what the index knows of a job. The index's mu guards it.
type entry struct {
	id, tenant, route string
	state             State
	urgency           request.Urgency
	attempts          int
	created, ended    time.Time
	due, runAt        time.Time
	hookAt            time.Time // when the webhook is due; zero: never
	owner             string
	revision          uint64
	left              uint64 // the revision at which it was left to another node
	gone              bool
}

// Watch tells of the changes of one job. Make it with Service.Watch.
type Watch struct {
	// C gets a token after a change; it holds one at most.
	C chan struct{}
	x *index
	// id is the job's.
	id string
}

// Close ends the watch.
func (w *Watch) Close() {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	delete(w.x.waiters[w.id], w)
	if len(w.x.waiters[w.id]) == 0 {
		delete(w.x.waiters, w.id)
	}
}

func newIndex() *index {
	return &index{
		byID: make(map[string]*entry), counts: make(map[State]int), tenants: make(map[string]map[State]int),
		hooks: make(map[string]*entry), running: make(map[string]*entry),
		waiters: make(map[string]map[*Watch]bool),
	}
}

// watch begins to watch a job, whether it is there or not.
func (x *index) watch(id string) *Watch {
	w := &Watch{C: make(chan struct{}, 1), x: x, id: id}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.waiters[id] == nil {
		x.waiters[id] = make(map[*Watch]bool)
	}
	x.waiters[id][w] = true
	return w
}

// put takes in a record as it is in the bucket. It reports whether that was news.
func (x *index) put(j *Job, revision uint64, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	e, known := x.byID[j.ID]
	switch {
	case known && e.revision >= revision:
		return false
	case known:
		x.count(e, -1)
	default:
		e = &entry{id: j.ID, tenant: j.Tenant, route: j.Route, created: j.Created}
		x.byID[j.ID] = e
		x.insert(e)
	}
	e.state, e.urgency, e.attempts, e.owner, e.revision = j.State, j.Urgency, j.Attempts, j.Owner, revision
	e.due, e.runAt, e.ended, e.hookAt = j.Due, j.RunAt, j.Ended, time.Time{}
	x.count(e, 1)
	if e.state == Queued {
		x.backlog.add(e, now)
	}
	delete(x.running, e.id)
	if e.state == Running {
		x.running[e.id] = e
	}
	delete(x.hooks, e.id)
	if e.state.Ended() && j.Webhook != nil && j.Webhook.State == WebhookWaiting {
		e.hookAt = j.Webhook.Next
		x.hooks[e.id] = e
	}
	x.tell(e.id)
	return true
}

// insert keeps order in order; new jobs come last but for the odd clock. The caller holds mu.
func (x *index) insert(e *entry) {
	i := len(x.order)
	for i > 0 && x.order[i-1].created.After(e.created) {
		i--
	}
	x.order = slices.Insert(x.order, i, e)
}

// count adds a job to the counts, or takes it out. The caller holds mu.
func (x *index) count(e *entry, by int) {
	x.counts[e.state] += by
	own := x.tenants[e.tenant]
	if own == nil {
		own = make(map[State]int)
		x.tenants[e.tenant] = own
	}
	if own[e.state] += by; own[e.state] == 0 {
		delete(own, e.state)
	}
	if len(own) == 0 {
		delete(x.tenants, e.tenant)
	}
}

// remove takes out a job that is in the bucket no more.
func (x *index) remove(id string, revision uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e, ok := x.byID[id]
	if !ok || e.revision >= revision {
		return
	}
	x.count(e, -1)
	e.gone, e.state, e.revision = true, "", revision
	delete(x.byID, id)
	delete(x.hooks, id)
	delete(x.running, id)
	if x.gone++; x.gone > 1024 && x.gone > len(x.order)/2 {
		x.order = slices.DeleteFunc(x.order, func(e *entry) bool { return e.gone })
		x.gone = 0
	}
	x.tell(id)
}

// tell wakes who watches a job. The caller holds mu.
func (x *index) tell(id string) {
	for w := range x.waiters[id] {
		select {
		case w.C <- struct{}{}:
		default:
		}
	}
}

// next takes the job whose turn it is, and says when another becomes due; "" and zero: there is none. A job
// that falls to another node is left to it for the grace, once.
func (x *index) next(now time.Time, mine func(id string) bool, grace time.Duration) (id string, due time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		due = x.backlog.due(now)
		e := x.backlog.next()
		if e == nil {
			return "", due
		}
		if e.left == e.revision || mine(e.id) {
			return e.id, due
		}
		e.left = e.revision
		x.backlog.put(place{e, e.revision, now.Add(grace)}, now)
	}
}

// requeue puts a job back that next gave and that could not be begun.
func (x *index) requeue(id string, at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e, ok := x.byID[id]; ok && e.state == Queued {
		x.backlog.put(place{e, e.revision, at}, time.Now())
	}
}

// orphans lists the running jobs of owners that are no more.
func (x *index) orphans(alive func(owner string) bool) (ids []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, e := range x.running {
		if !alive(e.owner) {
			ids = append(ids, id)
		}
	}
	return ids
}

// dueHooks lists the jobs whose webhook is due, and when the next one is.
func (x *index) dueHooks(now time.Time) (ids []string, next time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, e := range x.hooks {
		if !e.hookAt.After(now) {
			ids = append(ids, id)
		} else if next.IsZero() || e.hookAt.Before(next) {
			next = e.hookAt
		}
	}
	return ids, next
}

// old lists up to limit jobs that ended before a time, and those still waiting that were due before
// another.
func (x *index) old(endedBefore, dueBefore time.Time, limit int) (ended, late []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.order {
		switch {
		case e.gone:
		case e.state.Ended():
			if e.ended.Before(endedBefore) && e.hookAt.IsZero() {
				ended = append(ended, e.id)
			}
		case e.state == Queued && e.due.Before(dueBefore):
			late = append(late, e.id)
		}
		if len(ended)+len(late) >= limit {
			break
		}
	}
	return ended, late
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Filter says which jobs to list. What is zero does not limit.
type Filter struct {
	States []State
	// Tenant, if not nil, is whose jobs.
	Tenant *string
	Route  string
	// Before is the id of a job: only jobs created before it are listed.
	Before string
	// Limit is the most jobs listed: default and maximum 1000.
	Limit int
}

// Brief is what a list tells of a job.
type Brief struct {
	ID       string          `json:"id"`
	Tenant   string          `json:"tenant,omitempty"`
	Route    string          `json:"route"`
	State    State           `json:"state"`
	Urgency  request.Urgency `json:"urgency"`
	Attempts int             `json:"attempts"`
	Created  time.Time       `json:"created"`
	RunAt    time.Time       `json:"run_at,omitzero"`
	Ended    time.Time       `json:"ended,omitzero"`
}

const maxList = 1000

// list returns the jobs that match, newest first.
func (x *index) list(f Filter) []Brief {
	limit := min(cmp.Or(f.Limit, maxList), maxList)
	x.mu.Lock()
	defer x.mu.Unlock()
	found := []Brief{}
	before := f.Before == ""
	for _, e := range slices.Backward(x.order) {
		if !before {
			before = e.id == f.Before
			continue
		}
		if e.gone || f.Tenant != nil && e.tenant != *f.Tenant || f.Route != "" && e.route != f.Route ||
			len(f.States) > 0 && !slices.Contains(f.States, e.state) {
			continue
		}
		found = append(found, Brief{e.id, e.tenant, e.route, e.state, e.urgency, e.attempts, e.created, e.runAt, e.ended})
		if len(found) == limit {
			break
		}
	}
	return found
}

// Counts is how many jobs there are in each state.
func (x *index) Counts() map[State]int {
	x.mu.Lock()
	defer x.mu.Unlock()
	counts := make(map[State]int, len(x.counts))
	for s, n := range x.counts {
		counts[s] = n
	}
	return counts
}

// TenantCounts is how many jobs a tenant has in each state.
type TenantCounts struct {
	Tenant string
	Counts map[State]int
}

// Tenants counts the jobs of each tenant: those with most that has not ended well come first, at most
// limit.
func (x *index) Tenants(limit int) []TenantCounts {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make([]TenantCounts, 0, len(x.tenants))
	for name, counts := range x.tenants {
		list = append(list, TenantCounts{name, maps.Clone(counts)})
	}
	open := func(t TenantCounts) int {
		return t.Counts[Queued] + t.Counts[Running] + t.Counts[Dead] + t.Counts[Failed]
	}
	slices.SortFunc(list, func(a, b TenantCounts) int { return cmp.Or(open(b)-open(a), cmp.Compare(a.Tenant, b.Tenant)) })
	return list[:min(len(list), limit)]
}

// size is how many jobs are kept.
func (x *index) size() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.byID)
}
