package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a condition may take on a machine that has much else to do.
const patience = 45 * time.Second

var (
	scratch string
	browser context.Context // nil: there is no browser
	why     string
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "penstock-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	scratch = dir
	path := chromium()
	if path == "" {
		why = "there is no Chromium; apt-get install chromium, or scripts/e2e-tools.sh"
		return m.Run()
	}
	// Only what is said here: nothing that calls home.
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(dir + "/profile"), chromedp.WindowSize(1440, 1000),
		chromedp.WSURLReadTimeout(2 * patience),
	}
	for _, flag := range []string{"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
		"disable-component-update", "disable-sync", "disable-dev-shm-usage", "disable-extensions", "mute-audio", "hide-scrollbars"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	browser, cancel = chromedp.NewContext(allocator)
	defer cancel()
	if err := chromedp.Do(browser); err != nil {
		fmt.Fprintln(os.Stderr, "Chromium does not start:", err)
		return 1
	}
	return m.Run()
}

func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// tab is one tab of the browser, and what it complained about.
type tab struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex // guards what follows
	faults   []string
	expected []string
}

// open opens a tab, and closes it with the test. Whatever the console says of errors fails the test.
func open(t testing.TB) *tab {
	t.Helper()
	if browser == nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	ctx, cancel := chromedp.NewContext(browser)
	if err := chromedp.Do(ctx); err != nil { // without an end of time, which would end the tab
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(ctx, 4*patience)
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	call(b, runtime.Enable, cdp.Empty{})
	call(b, log.Enable, cdp.Empty{})
	t.Cleanup(func() {
		defer cancel()
		defer stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, fault := range b.faults {
			t.Errorf("the console says: %s", fault)
		}
	})
	return b
}

func (b *tab) listen(event any) {
	fault := ""
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == "assert" {
			for _, x := range e.Args {
				fault += string(x.Value) + x.Description + " "
			}
		}
	case *runtime.EventExceptionThrown:
		fault = fmt.Sprintf("%s %s:%d", e.ExceptionDetails.Text, e.ExceptionDetails.URL, e.ExceptionDetails.LineNumber+1)
		if x := e.ExceptionDetails.Exception; x != nil {
			fault += " " + x.Description
		}
	case *log.EventEntryAdded: // violations of the policy and answers of 400 and above are among them
		if e.Entry.Level == "error" {
			fault = e.Entry.Text + " " + e.Entry.URL
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if fault != "" && !slices.ContainsFunc(b.expected, func(x string) bool { return strings.Contains(fault, x) }) {
		b.faults = append(b.faults, fault)
	}
}

// expect lets the console complain about something.
func (b *tab) expect(text ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, text...)
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// call sends a command of the browser's protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.t.Fatal(err)
	}
}

// run runs a script in the page.
func (b *tab) run(js string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](js+`; true`)); err != nil {
		b.t.Fatal(err)
	}
}

// visit opens a page, and waits until its stream is live.
func (b *tab) visit(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
	b.until(`document.getElementById('link')?.textContent.includes('live')`)
}

// until waits for a condition in the page.
func (b *tab) until(js string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`Boolean(`+js+`)`))
		if err == nil && ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.href + '\n' + document.body.innerText.slice(0, 3000)`))
			b.t.Fatalf("this does not come true: %s (last error: %v)\n%s", js, err, text)
		}
	}
}

// text is an expression's value, or what it promises, as text.
func (b *tab) text(js string) string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`Promise.resolve(`+js+`).then(String)`, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// click clicks what a selector finds, by the page itself: a live page moves under a mouse.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`document.querySelector(%q)`, selector))
	b.run(fmt.Sprintf(`document.querySelector(%q).click()`, selector))
}
