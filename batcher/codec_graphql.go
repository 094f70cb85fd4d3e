package batcher

import "penstock/request"

// graphqlCodec writes an array of {query, variables, operationName}, which Apollo and others take.
// Nothing in an answer says whose it is, so it is split by order and must be complete.
type graphqlCodec struct{ base }

func (c graphqlCodec) read(r *request.Request) (frame, item, bool) {
	path, ok := c.path(r)
	if !ok {
		return frame{}, item{}, false
	}
	f, ok := c.frame(r, path)
	if !ok {
		return frame{}, item{}, false
	}
	body, ok := ownBody(r)
	return f, item{raw: body, share: shareBody(r, body), weight: len(body) + 1}, ok
}

func (c graphqlCodec) write(f frame, items []item) frame {
	f.body = writeArray(items)
	return f
}
