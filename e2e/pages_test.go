package e2e

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var pages = []struct{ path, title string }{
	{"", "Now"}, {"tuning", "Tuning"}, {"queue", "Queue"}, {"cache", "Cache"}, {"preload", "Preload"},
	{"upstreams", "Upstreams"}, {"jobs", "Jobs"}, {"config", "Config"}, {"alerts", "Alerts"},
}

// drawn: each chart of the page has a value that is not a dash.
const drawn = `[...document.querySelectorAll('figure[data-chart]')].every(f => f.querySelector('canvas') && [...f.querySelectorAll('.key-line b')].some(b => b.textContent && b.textContent !== '–'))`

func TestEachPageRendersLiveDataAndIsAccessible(t *testing.T) {
	d := startDemo(t)
	d.ask(t.Context(), 40)
	b := open(t)
	axe := readAxe(t)
	for _, p := range pages {
		t.Run(p.title, func(t *testing.T) {
			b.t = t
			b.visit(d.admin + "/" + p.path)
			b.until(fmt.Sprintf(`document.querySelector('h1').textContent === %q`, p.title))
			if p.path != "preload" && p.path != "alerts" && p.path != "config" {
				b.until(drawn)
			}
			sampled := b.text(`document.querySelector('footer p').textContent`)
			b.until(fmt.Sprintf(`document.querySelector('footer p').textContent !== %q`, sampled))
			b.accessible(axe)
		})
	}
	b.t = t
	b.run(`document.documentElement.dataset.theme = 'dark'`)
	b.accessible(axe)
	if n := b.text(`performance.getEntriesByType('resource').filter(r => new URL(r.name).origin !== location.origin).length`); n != "0" {
		t.Errorf("%s requests went elsewhere", n)
	}
}

// readAxe is the source of axe-core; without it the check is skipped, or fails in CI.
func readAxe(t *testing.T) string {
	path := os.Getenv("E2E_AXE")
	source, err := os.ReadFile(path)
	if err == nil {
		return string(source)
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("axe-core is not there (E2E_AXE=%q): %v; scripts/e2e-tools.sh installs it", path, err)
	}
	t.Log("accessibility is not checked: E2E_AXE names no file")
	return ""
}

// accessible has axe-core look at the page.
func (b *tab) accessible(axe string) {
	b.t.Helper()
	if axe == "" {
		return
	}
	b.run(axe)
	found := b.text(`axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => v.id + ': ' + v.help + ' ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + ' (' + n.failureSummary + ')').join(' | ')).join('\n'))`)
	if found != "" {
		b.t.Errorf("axe-core finds:\n%s", found)
	}
}

func TestAKnobIsPinnedAndUnpinned(t *testing.T) {
	d := startDemo(t)
	b := open(t)
	b.visit(d.admin + "/tuning?knob=workers.movies")
	const row = `document.getElementById('k-workers.movies')`
	b.overhear()
	b.click(`[id="k-workers.movies"] details.edit summary`)
	b.run(row + `.querySelector('input[name=value]').value = '9'; ` + row + `.querySelector('input[name=note]').value = 'a test'; ` + row + `.querySelector('select[name=for]').value = '1h'; ` + row + `.querySelector('button.primary').click()`)
	b.until(row + `.innerText.includes('pin until') && ` + row + `.innerText.includes('a test') && ` + row + `.querySelector('strong').textContent === '9'`)
	b.until(`window.heard.includes('workers.movies is pinned')`)
	b.click(`[id="k-workers.movies"] button.unpin`)
	b.until(`!` + row + `.innerText.includes('pin until')`)

	// What can't be is refused with the reason.
	b.expect("422")
	b.click(`[id="k-workers.movies"] details.edit summary`)
	b.run(row + `.querySelector('input[name=value]').value = '-5'; ` + row + `.querySelector('button.primary').click()`)
	b.until(`window.heard.includes('within')`)
}

func TestADecisionIsOpenedFromItsMark(t *testing.T) {
	d := startDemo(t)
	b := open(t)
	b.visit(d.admin + "/tuning?knob=workers.movies")
	b.until(drawn)
	pin := `fetch('admin/v1/knobs/workers.movies/pin', {method: 'PUT', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({value: 7, note: 'for the test'})})`
	b.run(pin + `; undefined`)
	b.click(`figure .mark.m-person`)
	b.until(`document.getElementById('decision')?.innerText.includes('for the test') && document.getElementById('decision').querySelector('.pin-here')`)
	if u := b.text(`location.search`); !strings.Contains(u, "decision=") || !strings.Contains(u, "knob=workers.movies") {
		t.Errorf("the decision is not in the URL: %s", u)
	}
	b.click(`#decision .close`)
	b.until(`!document.getElementById('decision') && !location.search.includes('decision=')`)
	b.do(chromedp.NavigateBack())
	b.until(`document.getElementById('decision')`)
}

// overhear keeps in window.heard what the page says: its words go after some seconds, which a slow machine may miss.
func (b *tab) overhear() {
	b.run(`window.heard = ''; new MutationObserver(() => { window.heard += document.getElementById('said').textContent }).observe(document.getElementById('said'), { childList: true })`)
}

func TestAReloadWithABadAndAGoodFile(t *testing.T) {
	d := startDemo(t)
	b := open(t)
	b.expect("422")
	b.visit(d.admin + "/config")
	whole := ""
	d.edit(t, func(s string) string { whole = s; return s + "\nnonsense: 1\n" })
	b.overhear()
	b.click("#reload")
	b.until(`window.heard.includes('nonsense')`)
	b.until(`document.querySelector('#reload-failed')?.textContent.includes('nonsense')`)
	b.do(chromedp.Navigate(d.admin + "/queue"))
	b.until(`document.querySelector('#reload-failed')`)
	d.edit(t, func(string) string {
		return strings.Replace(whole, "routes:", "cache: {max_entries: 4321}\nroutes:", 1)
	})
	b.visit(d.admin + "/config")
	b.click("#reload")
	b.until(`!document.querySelector('#reload-failed') && [...document.querySelectorAll('#entries tr.set')].some(r => r.textContent.includes('4321'))`)
}

func TestAllKnobsAreFrozenAndThawed(t *testing.T) {
	d := startDemo(t)
	b := open(t)
	b.visit(d.admin + "/tuning")
	b.click("#freeze")
	b.until(`document.querySelector('.top').innerText.includes('frozen') && document.getElementById('freeze').innerText.includes('Thaw')`)
	b.click("#freeze")
	b.until(`!document.querySelector('.top').innerText.includes('frozen') && document.getElementById('freeze').innerText.includes('Freeze')`)
}

func TestAPurgeAsksFirst(t *testing.T) {
	d := startDemo(t)
	d.ask(t.Context(), 30)
	b := open(t)
	b.visit(d.admin + "/cache")
	const form = `form[data-choice]`
	b.overhear()
	b.run(`document.querySelector('` + form + ` [name=by]').value = 'all'; document.querySelector('` + form + ` button').click()`)
	b.until(`document.getElementById('ask').open`)
	b.click(`#ask button[value=no]`)
	b.until(`!document.getElementById('ask').open`)
	b.run(`document.querySelector('` + form + ` button').click()`)
	b.until(`document.getElementById('ask').open`)
	if s := b.text(`window.heard`); s != "" {
		t.Errorf("after Cancel the page says %q", s)
	}
	b.click(`#ask button[value=yes]`)
	b.until(`/\d+ entries were purged/.test(window.heard)`)
}

func TestDarkModeIsChosenAndStays(t *testing.T) {
	d := startDemo(t)
	b := open(t)
	b.prefer("light")
	b.visit(d.admin + "/")
	const ground = `getComputedStyle(document.body).backgroundColor`
	light := b.text(ground)
	b.click("#theme")
	b.until(ground + fmt.Sprintf(` !== %q`, light))
	b.visit(d.admin + "/queue")
	b.until(`document.documentElement.dataset.theme === 'dark' && ` + ground + fmt.Sprintf(` !== %q`, light))
	b.run(`localStorage.clear()`)
	b.prefer("dark")
	b.visit(d.admin + "/")
	if b.text(ground) == light {
		t.Error("the system's dark mode is not followed")
	}
}

// prefer says what the system prefers.
func (b *tab) prefer(scheme string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

func TestThePagesWorkUnderAPrefix(t *testing.T) {
	d := startDemo(t)
	target, err := url.Parse(d.admin)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	s := httptest.NewServer(http.StripPrefix("/x/y", proxy))
	t.Cleanup(s.Close)
	b := open(t)
	b.visit(s.URL + "/x/y/")
	b.until(drawn)
	for _, p := range pages[1:] {
		b.click(fmt.Sprintf(`nav a[href=%q]`, p.path))
		b.until(fmt.Sprintf(`location.pathname === '/x/y/%s' && document.querySelector('h1')?.textContent === %q && document.getElementById('link')?.textContent.includes('live')`, p.path, p.title))
	}
	b.do(chromedp.Navigate("about:blank")) // before the proxy goes
}

func TestAReadOnlyServerRefusesChanges(t *testing.T) {
	d := startDemo(t, "--read-only")
	b := open(t)
	b.expect("403")
	b.visit(d.admin + "/tuning")
	b.until(`document.querySelector('.top').innerText.includes('read-only') && !document.querySelector('form[data-method]')`)
	status := b.text(`fetch('admin/v1/knobs/workers.movies/pin', {method: 'PUT', body: '{"value": 3}'}).then(r => r.status)`)
	if status != "403" {
		t.Errorf("a pin is answered with %s", status)
	}
}

func TestThePageComesBackAfterARestartOfTheServer(t *testing.T) {
	admin := freePort(t)
	d := startDemo(t, "--admin", admin)
	b := open(t)
	b.expect("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "503")
	b.visit("http://" + admin + "/")
	d.stop()
	b.until(`document.getElementById('link').textContent.includes('reconnecting')`)
	startDemo(t, "--admin", admin)
	b.until(`document.getElementById('link').textContent.includes('live')`)
	sampled := b.text(`document.querySelector('footer p').textContent`)
	b.until(fmt.Sprintf(`document.querySelector('footer p').textContent !== %q`, sampled))
}

func TestThePagesCanBeReadWithoutScripts(t *testing.T) {
	d := startDemo(t)
	d.ask(t.Context(), 20)
	b := open(t)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	for _, p := range pages {
		b.do(chromedp.Navigate(d.admin + "/" + p.path))
		b.until(fmt.Sprintf(`document.querySelector('h1').textContent === %q && document.querySelector('main').innerText.length > 40`, p.title))
	}
	b.do(chromedp.Navigate(d.admin + "/"))
	b.until(`document.querySelectorAll('.plot > svg path[d^="M"]').length >= 4`)
}

func TestKeysAndRanges(t *testing.T) {
	d := startDemo(t)
	b := open(t)
	b.visit(d.admin + "/")
	b.do(chromedp.KeyEvent("2"))
	b.until(`document.querySelector('h1')?.textContent === 'Tuning' && document.getElementById('link')?.textContent.includes('live')`)
	b.do(chromedp.KeyEvent("["))
	b.until(`location.search.includes('range=5m') && document.querySelector('.range [aria-current]').textContent === '5 min'`)
	b.do(chromedp.KeyEvent("?"))
	b.until(`document.getElementById('help').open`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`!document.getElementById('help').open`)
	b.until(drawn)
	// A part of a chart that is drawn over with the mouse becomes the range of all.
	b.run(`(() => {
		const over = document.querySelector('.u-over'), r = over.getBoundingClientRect();
		const at = (type, x) => (type === 'mousedown' ? over : document).dispatchEvent(new MouseEvent(type, {bubbles: true, clientX: r.left + x, clientY: r.top + 20, button: 0}));
		over.dispatchEvent(new MouseEvent('mouseenter', {clientX: r.left + 100, clientY: r.top + 20}));
		at('mousedown', 100); over.dispatchEvent(new MouseEvent('mousemove', {bubbles: true, clientX: r.left + 250, clientY: r.top + 20, movementX: 150, movementY: 0})); at('mouseup', 250);
	})()`)
	b.until(`location.search.includes('from=') && !document.body.hasAttribute('data-live')`)
}

func TestAReportOpensWithTheNetworkOff(t *testing.T) {
	d := startDemo(t)
	b := open(t)
	b.visit(d.admin + "/")
	b.until(drawn)
	resp, err := http.Get(d.admin + "/admin/v1/history/report?from=-5m")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	file := filepath.Join(t.TempDir(), "report.html")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b.do(chromedp.Navigate("about:blank"))
	d.stop()
	c := open(t)
	call(c, network.Enable, network.EnableParams{})
	call(c, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: true})
	c.do(chromedp.Navigate("file://" + file))
	c.until(`document.querySelectorAll('figure canvas').length >= 8 && document.querySelector('h1').textContent.startsWith('Penstock')`)
}
