package configs

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"penstock/lease"
)

// Cluster is the NATS cluster that several nodes share.
type Cluster struct {
	URL      string        `koanf:"url" reload:"restart" doc:"The NATS servers, with JetStream, that keep what nodes share: nats://HOST:4222 (or tls://, ws://, wss://), several with commas between; one that answers is enough. Empty: this process stands alone and keeps things under data_dir itself."`
	Node     string        `koanf:"node" reload:"restart" doc:"The name of this node: a-z, 0-9, _ and -, no two alike. Empty: a random one, kept in data_dir; without data_dir another one at each start."`
	Prefix   string        `koanf:"prefix" reload:"restart" doc:"What the names of all streams begin with, so that several deployments can share an account; the same on all nodes of one."`
	Replicas int           `koanf:"replicas" min:"1" max:"5" reload:"restart" doc:"On how many NATS servers everything is kept; 3 bear the loss of one, 1 is for a single server. The same on all nodes."`
	Lease    time.Duration `koanf:"lease" min:"2s" max:"5m" reload:"restart" doc:"How long a node may be silent before others take over its jobs and its lead; longer forgives longer pauses, shorter notices sooner. The same on all nodes."`

	Quota ClusterQuota `koanf:"quota" doc:"How the nodes share the quotas of the upstreams: each holds a part on lease, and the parts follow demand."`

	User            string     `koanf:"user" reload:"restart" doc:"The user to connect as, with password."`
	Password        Secret     `koanf:"password" reload:"restart" doc:"The user's password."`
	Token           Secret     `koanf:"token" reload:"restart" doc:"The token to connect with, instead of a user."`
	CredentialsFile string     `koanf:"credentials_file" reload:"restart" doc:"The credentials file (user JWT and seed) to connect with, as nsc writes it."`
	NKeyFile        string     `koanf:"nkey_file" reload:"restart" doc:"The file with the user seed to connect with."`
	TLS             ClusterTLS `koanf:"tls" doc:"TLS to the NATS servers; used when a URL says tls:// or wss://, when any of these is set, and when the servers demand it."`
}

// ClusterQuota is how nodes share the quotas of upstreams.
type ClusterQuota struct {
	Lease       time.Duration `koanf:"lease" min:"1s" max:"10m" reload:"restart" doc:"How long a node may use its part of a quota without a word from the cluster; longer rides out longer outages (a new leader of NATS takes up to 8s), shorter gives a dead node's part back sooner. The same on all nodes."`
	CutOffRatio float64       `koanf:"cut_off_ratio" min:"0" max:"1" reload:"restart" doc:"The part of an even share that a node goes on with when it is cut off for longer than that, and that is kept for one that vanished until it is forgotten; more keeps a node useful that is cut off, less leaves more to the others after a crash."`
	Forget      time.Duration `koanf:"forget" min:"10s" max:"24h" reload:"restart" doc:"How long after its lease a node that vanished is remembered. The same on all nodes."`
	Hold        bool          `koanf:"hold" reload:"restart" doc:"Whether a node that is cut off keeps its last part for as long as it is; on serves on through any outage, off never uses more of a quota than there is."`
}

// ClusterTLS is how the NATS servers are verified and how Penstock shows who it is.
type ClusterTLS struct {
	CAFile             string `koanf:"ca_file" reload:"restart" doc:"PEM file of the authorities to trust instead of the system's."`
	CertFile           string `koanf:"cert_file" reload:"restart" doc:"PEM file of the client certificate; with key_file."`
	KeyFile            string `koanf:"key_file" reload:"restart" doc:"PEM file of the client certificate's key; with cert_file."`
	ServerName         string `koanf:"server_name" reload:"restart" doc:"The name to expect in the certificates, if it is not the host of the URL."`
	InsecureSkipVerify bool   `koanf:"insecure_skip_verify" reload:"restart" doc:"Whether any certificate is accepted; on only in tests, since anybody in between can then read everything."`
}

func defaultCluster() Cluster {
	return Cluster{
		Prefix: "penstock", Replicas: 3, Lease: 5 * time.Second,
		Quota: ClusterQuota{Lease: lease.DefaultLease, CutOffRatio: lease.DefaultCutOffRatio, Forget: lease.DefaultForget},
	}
}

// clusterName is what a node and a prefix may be called.
var clusterName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

func (c *checks) cluster(k Cluster) {
	for one := range strings.SplitSeq(k.URL, ",") {
		if k.URL == "" {
			break
		}
		u, err := url.Parse(strings.TrimSpace(one))
		switch {
		case err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" && u.Scheme != "ws" && u.Scheme != "wss":
			c.fault("cluster.url", "must be nats://HOST:4222 (or tls://, ws://, wss://), several with commas between")
		case u.User != nil:
			c.fault("cluster.url", "has a user in it; set cluster.user and cluster.password (or cluster.token), which keep secrets out of this file")
		}
	}
	for key, name := range map[string]string{"cluster.node": k.Node, "cluster.prefix": k.Prefix} {
		if name != "" && !clusterName.MatchString(name) {
			c.fault(key, "%q is not a usable name: take a-z, 0-9, _ and -, beginning with a letter or digit, at most 32", name)
		}
	}
	for key, s := range map[string]Secret{"cluster.password": k.Password, "cluster.token": k.Token} {
		if s.Env != "" && s.File != "" {
			c.fault(key, "has env and file; keep one")
		}
		c.envName(key+".env", s.Env)
	}
	ways := 0
	for _, set := range []bool{k.User != "", !k.Token.IsZero(), k.CredentialsFile != "", k.NKeyFile != ""} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		c.fault("cluster", "says in several ways who connects; keep one of user, token, credentials_file, nkey_file")
	}
	if !k.Password.IsZero() && k.User == "" {
		c.fault("cluster.password", "needs cluster.user")
	}
	if (k.TLS.CertFile == "") != (k.TLS.KeyFile == "") {
		c.fault("cluster.tls.cert_file", "needs key_file beside it, and the other way round")
	}
}
