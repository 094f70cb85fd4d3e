package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"

	"penstock/cache"
	"penstock/request"
)

// bodyBytes is the size of every object.
const bodyBytes = 1 << 10

var body = make([]byte, bodyBytes)

// origin answers at once with what is good for a year.
func origin(_ context.Context, r *request.Request) (*request.Response, error) {
	r.MarkStarted()
	return &request.Response{Status: http.StatusOK, Body: request.NewBody(body), ContentLength: bodyBytes,
		Header: http.Header{"Cache-Control": {"max-age=31536000"}, "Content-Type": {"application/json"}, "Etag": {`"1"`}}}, nil
}

func newCache(maxBytes int64) (*cache.Cache, error) {
	return cache.New(cache.Options{Enabled: true, MaxBytes: maxBytes, MaxObjectBytes: 1 << 20}, request.DoerFunc(origin))
}

// ask makes the request for a key. All keys are of one length.
func ask(c *cache.Cache, route *request.Route, key uint32) (hit bool, err error) {
	path := fmt.Sprintf("/%08d", key)
	r := &request.Request{Route: route, Method: http.MethodGet, Path: path, Key: "up " + path, Header: make(http.Header), StreamLength: -1}
	resp, err := c.Do(context.Background(), r)
	if err != nil {
		return false, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.Cache.Hit, err
}

// replay is how many hits the cache has with room for so many objects.
func replay(keys []uint32, room int) (hits int, err error) {
	route := request.NewProxyRoute("up", request.CachePolicy{})
	each, err := weigh(route)
	if err != nil {
		return 0, err
	}
	c, err := newCache(int64(room) * each)
	if err != nil {
		return 0, err
	}
	for _, k := range keys {
		hit, err := ask(c, route, k)
		if err != nil {
			return hits, err
		}
		if hit {
			hits++
			continue
		}
		for c.Stats().Bytes > int64(room)*each {
			runtime.Gosched() // the store gives up what is too much a moment later, in the background
		}
	}
	return hits, c.Close()
}

// weigh is what one stored answer counts for.
func weigh(route *request.Route) (int64, error) {
	c, err := newCache(1 << 20)
	if err != nil {
		return 0, err
	}
	if _, err := ask(c, route, 0); err != nil {
		return 0, err
	}
	n := c.Stats().Bytes
	return n, c.Close()
}
