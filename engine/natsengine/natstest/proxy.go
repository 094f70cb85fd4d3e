package natstest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy passes TCP connections on. It can cut them (closed, and refused from then on) or stall them (open,
// but nothing passes, as behind a firewall that drops, or to a process that was stopped).
type Proxy struct {
	l  net.Listener
	to atomic.Pointer[string]

	mu      sync.Mutex // guards what follows
	conns   map[net.Conn]bool
	cut     bool
	stalled chan struct{} // closed while nothing is stalled
	ended   bool
	all     sync.WaitGroup
}

// NewProxy begins to pass on to an address until the test ends.
func NewProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{l: l, conns: make(map[net.Conn]bool), stalled: make(chan struct{})}
	close(p.stalled)
	p.to.Store(&to)
	p.all.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.Resume()
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		p.closeAll()
		p.all.Wait()
	})
	return p
}

// URL is the proxy's address as a NATS URL.
func (p *Proxy) URL() string { return "nats://" + p.l.Addr().String() }

// Cut closes what is open and refuses what comes, until Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	p.cut = true
	p.mu.Unlock()
	p.closeAll()
}

// Mend lets connections through again.
func (p *Proxy) Mend() {
	p.mu.Lock()
	p.cut = false
	p.mu.Unlock()
}

// Stall keeps connections open and passes nothing on, until Resume; then everything arrives.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.stalled:
		p.stalled = make(chan struct{})
	default:
	}
}

// Resume ends Stall.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.stalled:
	default:
		close(p.stalled)
	}
}

func (p *Proxy) gate() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stalled
}

func (p *Proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.all.Go(func() { p.serve(c) })
	}
}

// keep remembers a connection; false: it is not wanted.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut || p.ended {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) drop(c net.Conn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	_ = c.Close()
}

func (p *Proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) serve(near net.Conn) {
	defer p.drop(near)
	if !p.keep(near) {
		return
	}
	<-p.gate()
	far, err := net.Dial("tcp", *p.to.Load())
	if err != nil {
		return
	}
	defer p.drop(far)
	if !p.keep(far) {
		return
	}
	var both sync.WaitGroup
	pass := func(to, from net.Conn) {
		// The end of one way ends the other.
		defer to.Close()
		defer from.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			<-p.gate()
			if n > 0 {
				if _, err := to.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	both.Go(func() { pass(far, near) })
	both.Go(func() { pass(near, far) })
	both.Wait()
}
