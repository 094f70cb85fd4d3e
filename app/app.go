package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"penstock/api"
	"penstock/cache"
	"penstock/cluster"
	"penstock/configs"
	"penstock/engine"
	"penstock/jobs"
	"penstock/knob"
	"penstock/lease"
	"penstock/observe"
	"penstock/observe/webhook"
	"penstock/preload"
	"penstock/request"
	"penstock/tenant"
	"penstock/tracing"
	"penstock/tuner"
)

// Options say where an App's configuration comes from and where it writes to.
type Options struct {
	// Config says where the configuration comes from; each reload loads it again.
	Config configs.LoadOptions
	// LogOutput takes the log; nil: standard error.
	LogOutput io.Writer
	// Version is shown by /healthz and the metrics.
	Version string
	// PollInterval is how often the content of the configuration file is looked at; a changed
	// content that stays the same over two looks is loaded. 0: DefaultPollInterval, negative: never.
	PollInterval time.Duration
	// Ephemeral keeps nothing on disk, whatever data_dir says.
	Ephemeral bool
	// RecordTuning names a file that takes all that the tuner's controllers see, for a replay; empty: none.
	RecordTuning string
	// PaceGC lets the App set the garbage collector's pace by what collections cost. There is one for the whole process, so it is for
	// who runs a single App and nothing else. GOGC and GOMEMLIMIT in the environment come first.
	PaceGC bool
}

// DefaultPollInterval is how often the configuration file is looked at.
const DefaultPollInterval = 2 * time.Second

// App is a running Penstock. Make it with New.
type App struct {
	o       Options
	log     *slog.Logger
	level   *slog.LevelVar
	started time.Time

	metrics *observe.Registry
	window  *observe.Window
	sampler *observe.Sampler
	alerts  *observe.Alerts
	// webhooks are told of alerts; disk is that of data_dir.
	webhooks *webhook.Sender
	disk     *disk
	knobs    *knob.Registry
	cache    *cache.Cache
	tuner    *tuner.Loop
	ledger   *tuner.Ledger
	keeper   *keeper       // nil: nothing is kept
	jobs     *jobs.Service // nil: there are none
	streams  api.Streams
	scratch  engine.Engine // keeps the jobs of a run that keeps nothing; else nil
	memory   memoryBook
	nodes    *cluster.Nodes // nil: it stands alone
	purges   *purges        // nil: likewise
	nodeName string         // of this node of the cluster; empty: it stands alone
	leases   *lease.Keeper  // nil: quotas are not shared
	second   *secondLevel   // nil: the caches share nothing
	flows    sync.Map       // upstream name -> *tuner.FlowMeter
	tape     *tape          // nil: the tuner is not recorded
	preload  *preload.Preloader
	preloads *tuner.PreloadMeter
	ttls     ttlBook
	tenants  *tenant.Directory

	// What those who look see: the past, the present, and what saves most.
	history *observe.History
	watched []savedFile // the history and the alerts, with where they are kept; empty: nowhere
	live    *api.Live
	seen    lastSeen
	topKeys *observe.TopKeys
	tracer  *tracing.Tracer

	table   atomic.Pointer[table]
	current atomic.Pointer[configs.Loaded]
	reloads reloads
	secrets atomic.Pointer[secrets]
	// openness is what tellOpenness said last.
	openness atomic.Pointer[string]

	data, admin *server
	draining    atomic.Bool

	background sync.WaitGroup
	quit       context.CancelFunc
	failed     chan error
	stopOnce   sync.Once
	stopErr    error
}

// New loads the configuration, builds everything and binds both listeners. Nothing runs yet: call
// Start, and Stop in any case once New succeeded.
func New(o Options) (*App, error) {
	if o.LogOutput == nil {
		o.LogOutput = os.Stderr
	}
	if o.PollInterval == 0 {
		o.PollInterval = DefaultPollInterval
	}
	l, err := Load(o.Config)
	if err != nil {
		return nil, err
	}
	a := &App{
		o: o, level: new(slog.LevelVar), started: time.Now(), failed: make(chan error, 2 /* listeners */), quit: func() {},
		topKeys: observe.NewTopKeys(0), metrics: observe.NewRegistry(), knobs: knob.NewRegistry(), window: observe.NewWindow(observe.WindowOptions{}),
	}
	a.log = newLogger(o.LogOutput, l.Config.Log.Format, a.level)
	a.tracer = tracing.New(a.metrics.Process(), a.log)
	if err := a.build(l); err != nil {
		a.close(context.Background())
		return nil, err
	}
	return a, nil
}

func newLogger(w io.Writer, format string, level *slog.LevelVar) *slog.Logger {
	ho := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(api.LogHandler(slog.NewJSONHandler(w, ho)))
	}
	return slog.New(api.LogHandler(slog.NewTextHandler(w, ho)))
}

// build makes what lives as long as the process, and applies the first configuration by the same
// way as a reload.
func (a *App) build(l *configs.Loaded) error {
	a.table.Store(&table{})
	a.disk = newDisk(a.dataDir(l.Config))
	if err := a.newAlerts(l.Config); err != nil {
		return err
	}
	err := a.newTenants(l.Config.Tenants)
	if err != nil {
		return err
	}
	if err := a.newKeeper(l); err != nil {
		return err
	}
	if err := a.newLeases(l.Config); err != nil {
		return err
	}
	o := a.cacheOptions(l.Config)
	o.Second = a.newSecond(l.Config)
	if a.cache, err = cache.New(o, request.DoerFunc(a.dispatch)); err != nil {
		return err
	}
	commit, err := a.plan(l)
	if err != nil {
		return err
	}
	measured := observe.Doer(a.cache, observe.DoerOptions{Registry: a.metrics, Window: a.window})
	a.preloads = tuner.NewPreloadMeter()
	a.preload = preload.New(a.preloadOptions(l.Config), measured, a.savedPreload(l.Config))
	path := a.tracer.Requests(a.preload.Watch(measured))
	if a.tape, err = openTape(a.o.RecordTuning); err != nil {
		return err
	}
	a.tuner = tuner.New(a.tunerOptions())
	a.sampler = observe.NewSampler(observe.SamplerOptions{
		Window: a.window, Interval: l.Config.Monitoring.SamplingInterval, Facts: a.facts, OnSample: a.onSample,
	})
	if err := a.newNodes(l.Config); err != nil {
		return err
	}
	if err := a.newJobs(l, path); err != nil {
		return err
	}
	a.newHistory(l.Config)
	commit()
	if a.keeper != nil {
		a.keeper.load(a.tuner)
	}
	a.reloads.tried = l.Fingerprint
	a.knobs.Subscribe(a.onKnobChange)
	observe.RegisterProcess(a.metrics.Process(), a.started)
	a.registerMetrics()
	return a.bind(l.Config, path)
}

func (a *App) bind(c *configs.Config, path request.Doer) error {
	data, err := api.NewData(a.dataOptions(path))
	if err != nil {
		return err
	}
	pages := a.newPages()
	admin, err := api.NewAdmin(a.adminOptions(pages))
	if err != nil {
		return err
	}
	admin = a.renew(admin, pages)
	serve := func(name, address string, h http.Handler) (*server, error) {
		return listen(serverOptions{
			name: name, address: address, handler: h, lane: h == data, log: a.log, failed: a.failed, maxHeaderBytes: int(c.Server.MaxHeaderBytes),
			readHeaderTimeout: c.Server.ReadHeaderTimeout, idleTimeout: c.Server.IdleTimeout,
		})
	}
	if a.data, err = serve("server.listen", c.Server.Listen, data); err != nil {
		return err
	}
	a.admin, err = serve("admin.listen", c.Admin.Listen, admin)
	return err
}

// Start serves. It returns at once; Failed tells of listeners that ended by themselves.
func (a *App) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	a.quit = cancel
	a.keeper.start() // before anybody can pin
	a.startNodes(ctx)
	for _, s := range []*server{a.data, a.admin} {
		a.background.Go(s.serve)
	}
	a.background.Go(func() { a.keepHistory(ctx) })
	a.background.Go(func() { a.disk.watch(ctx) })
	if a.second != nil {
		a.background.Go(func() { a.second.follow(ctx) })
	}
	if a.o.PaceGC {
		a.background.Go(func() { paceGC(ctx) })
	}
	a.sampler.Start()
	a.tuner.Start()
	a.startJobs()
	a.background.Go(func() { a.keepPreload(ctx) })
	if a.o.PollInterval > 0 && a.o.Config.Path != "" {
		a.background.Go(func() { a.poll(ctx) })
	}
	c := a.current.Load().Config
	if len(c.Upstreams) == 0 {
		a.log.Warn("no upstream is configured, so there is nothing to ask: write one under upstreams (scheduler config init shows how)")
	}
	a.log.Info("penstock serves", "version", a.o.Version, "data", a.DataAddr(), "admin", a.AdminAddr(),
		"upstreams", slices.Sorted(maps.Keys(c.Upstreams)), "routes", len(c.Routes))
	if a.shared() {
		a.log.Info("jobs, pins, decisions and what the tuner learns are kept by the cluster", "node", a.nodeName)
	} else if dir := a.dataDir(c); dir == "" {
		a.log.Info("nothing is kept on disk: pins, decisions and what the tuner learns end with the process; set data_dir to keep them")
	} else {
		a.log.Info("pins, decisions and what the tuner learns are kept", "data_dir", dir)
	}
	a.warnOpen(c)
}

// warnOpen says what an operator may not have meant.
func (a *App) warnOpen(c *configs.Config) {
	if !loopback(a.AdminAddr()) && c.Admin.Token.IsZero() && len(c.Admin.Tokens) == 0 {
		a.log.Warn("the admin plane is open to the network without a token: set admin.token or listen on 127.0.0.1", "admin", a.AdminAddr())
	}
	a.tellOpenness()
}

// DataAddr is the address of the data plane, with the port that was chosen.
func (a *App) DataAddr() string { return a.data.addr() }

// AdminAddr is the address of the admin plane, with the port that was chosen.
func (a *App) AdminAddr() string { return a.admin.addr() }

// Logger is the App's log.
func (a *App) Logger() *slog.Logger { return a.log }

// Failed gives the error of a listener that ended by itself.
func (a *App) Failed() <-chan error { return a.failed }

// Stop drains: readiness says 503, after server.drain_delay the data plane takes no more
// connections, requests in flight and queued end, at most for server.drain_timeout or until ctx
// ends; then everything is closed and saved. It returns an error if requests had to be cut.
// Further calls wait for the first one and return its result.
func (a *App) Stop(ctx context.Context) error {
	a.stopOnce.Do(func() { a.stopErr = a.stop(ctx) })
	return a.stopErr
}

func (a *App) stop(ctx context.Context) error {
	c := a.current.Load().Config.Server
	a.draining.Store(true)
	a.log.Info("draining", "delay", c.DrainDelay, "timeout", c.DrainTimeout)
	a.preload.Close()
	a.savePreload()
	a.tuner.Stop()
	select {
	case <-time.After(c.DrainDelay):
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(ctx, c.DrainTimeout)
	defer cancel()
	var jobs sync.WaitGroup
	jobs.Go(func() { a.stopJobs(ctx) })
	err := a.data.drain(ctx)
	jobs.Wait()
	for _, n := range a.table.Load().nodes {
		if e := n.scheduler.Drain(ctx); e != nil && err == nil {
			err = fmt.Errorf("upstream %s: %w", n.name, e)
		}
	}
	err = errors.Join(err, a.close(ctx))
	a.log.Info("stopped", "error", err)
	return err
}

// close releases all that build made, in the order of the requests' way.
func (a *App) close(ctx context.Context) error {
	a.quit()
	var err error
	if a.preload != nil {
		a.preload.Close()
	}
	if a.tuner != nil {
		a.tuner.Stop()
	}
	if a.sampler != nil {
		a.sampler.Stop()
	}
	if a.webhooks != nil {
		a.webhooks.Close()
	}
	a.stopJobs(ctx)
	if a.data != nil {
		a.data.close()
	}
	if a.cache != nil {
		err = a.cache.Close()
	}
	for _, n := range a.table.Load().nodes {
		n.close()
	}
	if a.admin != nil {
		a.admin.close()
	}
	a.closeLeases(ctx)
	err = errors.Join(err, a.keeper.stop(ctx)) // after the last who could pin
	if a.scratch != nil {
		err = errors.Join(err, a.scratch.Close(ctx))
	}
	err = errors.Join(err, a.tape.close())
	a.knobs.Close()
	a.tracer.Close() // what ended by now is still sent
	a.background.Wait()
	return err
}

func (a *App) cacheOptions(c *configs.Config) cache.Options {
	o := cache.Options{
		Enabled: c.Cache.Enabled, MaxEntries: c.Cache.MaxEntries, MaxBytes: int64(c.Cache.MaxBytes),
		CompressMinBytes: int(c.Cache.CompressMinBytes), MaxObjectBytes: int64(c.Cache.MaxObjectBytes),
		RefreshAhead: c.Cache.RefreshAhead, ErrorBackoff: c.Cache.ErrorBackoff, ErrorBackoffMax: c.Cache.ErrorBackoffMax,
		ErrorRecovery: c.Cache.ErrorRecovery, CleanupInterval: c.Cache.CleanupInterval,
		SecondWait: c.Cache.L2.Wait, SecondMaxBytes: int64(c.Cache.L2.MaxObjectBytes),
		TenantShare: a.tenants.CacheShare, RouteShare: a.memory.share, SampleKeys: sampledKeys(c),
		Scope: a.metrics.Process(), OnAccess: a.onAccess, OnEvict: a.onEvict, OnLook: a.ttls.onLook, Logger: a.log,
	}
	if dir := a.dataDir(c); c.Cache.Persist && dir != "" {
		o.PersistPath = filepath.Join(dir, "cache.penstock")
		o.PersistInterval = c.Cache.PersistInterval
	}
	return o
}
