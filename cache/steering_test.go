package cache

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// gullible is an upstream that believes every steering field and puts it into a page, or a header, that all may have.
func gullible(control string) *origin {
	o := &origin{}
	o.do = func(_ context.Context, r *request.Request) (*request.Response, error) {
		believed := ""
		for name, lines := range r.Header {
			if name != "Cache-Control" && !strings.HasPrefix(name, "If-") {
				believed += strings.Join(lines, ",")
			}
		}
		if len(r.Header["If-None-Match"]) > 0 {
			return reply(http.StatusNotModified, "", "Cache-Control", control, "Etag", `"1"`, "Link", believed), nil
		}
		return reply(200, "link to "+believed, "Cache-Control", control, "Etag", `"1"`, "Link", believed), nil
	}
	return o
}

// TestAFieldThatSteersTheUpstreamPoisonsNobody has an attacker ask first, at once, or in place of a refresh, with
// each field by which frameworks are known to be steered.
func TestAFieldThatSteersTheUpstreamPoisonsNobody(t *testing.T) {
	clean := func(t *testing.T, how string, a answer) {
		t.Helper()
		if strings.Contains(a.body+strings.Join(a.Header["Link"], ""), "evil") {
			t.Errorf("%s: others get %q, Link %q", how, a.body, a.Header["Link"])
		}
	}
	for _, name := range steeringFields {
		value := "evil"
		if name == "Forwarded" {
			value = "for=192.0.2.1;host=evil"
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCache(t, testOptions(), gullible("max-age=60, stale-while-revalidate=60"))
				do(t, c, get(httpRoute(), "first", name, value))
				clean(t, "after him", do(t, c, get(httpRoute(), "first")))

				// A copy that all share; he has it validated, refreshed ahead, refreshed when stale, and asked about by HEAD.
				do(t, c, get(httpRoute(), "k"))
				do(t, c, get(httpRoute(), "k", name, value, "Cache-Control", "no-cache"))
				clean(t, "after his validation", do(t, c, get(httpRoute(), "k")))
				h := get(httpRoute(), "k", name, value, "Cache-Control", "no-cache")
				h.Method = http.MethodHead
				do(t, c, h)
				clean(t, "after his HEAD", do(t, c, get(httpRoute(), "k")))
				time.Sleep(90 * time.Second)
				do(t, c, get(httpRoute(), "k", name, value))
				synctest.Wait()
				clean(t, "after a refresh that he caused", do(t, c, get(httpRoute(), "k")))
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				o := gullible("max-age=60")
				quick := o.do
				o.do = func(ctx context.Context, r *request.Request) (*request.Response, error) {
					time.Sleep(time.Second)
					return quick(ctx, r)
				}
				c := newCache(t, testOptions(), o)
				var his sync.WaitGroup
				his.Go(func() {
					if resp, err := c.Do(context.Background(), get(httpRoute(), "k", name, value)); err == nil {
						_ = resp.Body.Close()
					}
				})
				synctest.Wait()
				clean(t, "who waits for his call", do(t, c, get(httpRoute(), "k")))
				his.Wait()
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestASteeringFieldThatAllSendIsNoHindrance: behind a balancer that sets X-Forwarded-Host there are as many copies as
// hosts, and Forwarded differs by the client only.
func TestASteeringFieldThatAllSendIsNoHindrance(t *testing.T) {
	o := gullible("max-age=60")
	c := newCache(t, testOptions(), o)
	for i := range 20 {
		host := "host" + itoa(i%2)
		do(t, c, get(httpRoute(), "a", "X-Forwarded-Host", host, "X-Forwarded-Proto", "https", "X-Forwarded-For", "192.0.2."+itoa(i)))
		a := do(t, c, get(httpRoute(), "b", "Forwarded", "for=192.0.2."+itoa(i)+"; host="+host+", for=10.0.0.1"))
		if i >= 2 && !a.Cache.Hit {
			t.Errorf("client %d: %+v", i, a.Cache)
		}
	}
	o.wantCalls(t, 4)
}
