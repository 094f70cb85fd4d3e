// Package natstest runs real NATS servers in the process of a test: clusters joined by routes, with
// JetStream, that can be stopped and started again one by one, and a TCP proxy that can cut or stall
// what stands behind it. It is for tests.
package natstest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Patience is how long the servers may take to agree on what they are asked.
const Patience = 90 * time.Second

// Cluster is some NATS servers joined by routes; one stands alone.
type Cluster struct {
	t     testing.TB
	nodes []*node
}

type node struct {
	options server.Options
	mu      sync.Mutex // guards server
	server  *server.Server
}

// Options say how the servers differ from plain ones.
type Options struct {
	// User and Password, if set, must be given by clients.
	User, Password string
	// NoJetStream leaves JetStream off.
	NoJetStream bool
}

// Start starts n servers and waits until they are one cluster with a leader. They end with the test.
func Start(t testing.TB, n int) *Cluster { return StartWith(t, n, Options{}) }

// StartWith is Start with options.
func StartWith(t testing.TB, n int, o Options) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	dir := t.TempDir()
	var routes []string
	clients, routing := ports(t, n), ports(t, n)
	for i := range n {
		routes = append(routes, "nats://"+net.JoinHostPort("127.0.0.1", fmt.Sprint(routing[i])))
	}
	for i := range n {
		so := server.Options{
			ServerName: fmt.Sprintf("nats-%d", i), Host: "127.0.0.1", Port: clients[i], NoLog: true, NoSigs: true,
			JetStream: !o.NoJetStream, StoreDir: filepath.Join(dir, fmt.Sprint(i)), JetStreamMaxMemory: 64 << 20,
			JetStreamMaxStore: 16 << 30, Username: o.User, Password: o.Password,
		}
		if n > 1 {
			so.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: routing[i], NoAdvertise: true, PoolSize: -1}
			so.Routes = server.RoutesFromStr(strings.Join(routes, ","))
		}
		c.nodes = append(c.nodes, &node{options: so})
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.Stop(i)
		}
	})
	for i := range n {
		c.start(i)
	}
	if !o.NoJetStream {
		c.AwaitLeader()
	}
	return c
}

// ports finds free ports, below those that systems hand out by themselves: between this look and the
// server's own listening nobody takes such a port by chance.
func ports(t testing.TB, n int) (found []int) {
	t.Helper()
	for tries := 0; len(found) < n; tries++ {
		port := 11_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(port)))
		if err != nil {
			if tries > 1000 {
				t.Fatal(err)
			}
			continue
		}
		defer l.Close()
		found = append(found, port)
	}
	return found
}

func (c *Cluster) start(i int) {
	c.t.Helper()
	n := c.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.options // the server changes its own
	s, err := server.NewServer(&o)
	if err != nil {
		c.t.Fatal(err)
	}
	n.server = s
	s.Start()
	if !s.ReadyForConnections(Patience) {
		c.t.Fatalf("the NATS server %d is not ready", i)
	}
}

// Start starts a server that was stopped, on its old files and ports.
func (c *Cluster) Start(i int) { c.t.Helper(); c.start(i) }

// Stop stops a server at once; its clients lose their connections.
func (c *Cluster) Stop(i int) {
	n := c.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server != nil {
		n.server.Shutdown()
		n.server.WaitForShutdown()
		n.server = nil
	}
}

// AwaitLeader waits until the servers that run have a leader for JetStream.
func (c *Cluster) AwaitLeader() {
	c.t.Helper()
	c.Await("JetStream has a leader", func() bool {
		for _, n := range c.nodes {
			n.mu.Lock()
			s := n.server
			n.mu.Unlock()
			if s != nil && (len(c.nodes) == 1 || s.JetStreamIsLeader()) {
				return true
			}
		}
		return false
	})
}

// Leader is the number of the server that leads JetStream; -1: none does.
func (c *Cluster) Leader() int {
	for i, n := range c.nodes {
		n.mu.Lock()
		s := n.server
		n.mu.Unlock()
		if s != nil && s.JetStreamIsLeader() {
			return i
		}
	}
	return -1
}

// StreamLeader is the number of the server that leads a stream; -1: none does.
func (c *Cluster) StreamLeader(stream string) int {
	for i, n := range c.nodes {
		n.mu.Lock()
		s := n.server
		n.mu.Unlock()
		if s != nil && s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			return i
		}
	}
	return -1
}

// Await waits until a condition holds.
func (c *Cluster) Await(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(Patience); !ok(); {
		if time.Now().After(end) {
			c.t.Fatalf("it never happened that %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// Addr is a server's address, host and port.
func (c *Cluster) Addr(i int) string {
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(c.nodes[i].options.Port))
}

// URL names all servers, as cluster.url takes them.
func (c *Cluster) URL() string {
	var all []string
	for i := range c.nodes {
		all = append(all, "nats://"+c.Addr(i))
	}
	return strings.Join(all, ",")
}
