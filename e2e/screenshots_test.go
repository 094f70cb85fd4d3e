package e2e

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

var (
	into = flag.String("screenshots", "", "take a picture of each page of a demo and write them into this folder")
	kind = flag.String("format", "webp", "of the pictures: webp or png")
	lead = flag.Duration("lead", 4*time.Minute, "how long the demo runs before the pictures are taken")
)

// TestScreenshots is a command more than a test: make screenshots.
func TestScreenshots(t *testing.T) {
	if *into == "" {
		return
	}
	if err := os.MkdirAll(*into, 0o755); err != nil {
		t.Fatal(err)
	}
	d := startDemo(t, "--rate", "90", "--visitors", "24")
	busy, stop := context.WithCancel(t.Context())
	defer stop()
	for i := range 36 { // enough at once for a queue, and for the tuner
		go d.press(busy, i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), *lead)
	defer cancel()
	for tick := time.NewTicker(time.Second); ctx.Err() == nil; {
		d.ask(ctx, 15)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	d.busyJobs(busy, t)
	b := open(t)
	b.do(chromedp.EmulateViewport(1440, 1000))
	b.prefer("light")
	for _, p := range pages {
		b.visit(d.admin + "/" + p.path)
		b.shoot(p.title)
	}
	b.prefer("dark")
	b.visit(d.admin + "/")
	b.shoot("Now-dark")
	b.visit(d.admin + "/tuning?knob=workers.movies")
	b.until(drawn)
	b.run(`document.querySelector('.feed a')?.click()`)
	b.until(`document.getElementById('decision')`)
	b.shoot("Decision")
}

// shoot takes a picture of the whole page when its charts are drawn.
func (b *tab) shoot(name string) {
	b.t.Helper()
	switch name {
	case "Preload", "Alerts", "Config", "Jobs":
	default:
		b.until(drawn)
	}
	format, quality := page.CaptureScreenshotFormatWebp, int64(82)
	if *kind == "png" {
		format = page.CaptureScreenshotFormatPng
	}
	height, _ := strconv.ParseFloat(b.text(`document.documentElement.scrollHeight`), 64)
	beyond := true
	shot, err := chromedp.Call(b.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Format: format, Quality: &quality, CaptureBeyondViewport: &beyond,
		Clip: &page.Viewport{Width: 1440, Height: min(height, 1900), Scale: 1},
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(*into, "page-"+name+"."+*kind), shot.Data, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
