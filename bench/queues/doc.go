// Package queues measures the queue of Penstock's scheduler beside that of Kubernetes' API
// Priority and Fairness (k8s.io/apiserver's queueset) and a plain channel, which knows neither
// tenants nor urgencies and is the floor.
//
//	go test -C bench -run '^$' -bench Queue -benchtime 20000x ./queues             # Penstock, channel
//	go test -C bench -run '^$' -bench Queue -benchtime 20000x -tags k8s ./queues   # and the queueset
//
// All are driven alike, through what they offer to their users: as many clients as there are to be
// queued, each of which asks for the one permit, gives it back at once and asks again. So one
// operation takes one request out of a queue of that length and puts one in, and wakes a client.
//
// The queueset stands behind the build tag k8s since it brings some 300 packages along. It is
// given what makes it fast: 128 queues, contexts that can't end (else it starts a goroutine for
// each request), and no registered metrics.
//
// The bare queue, without clients and locks: go test -run '^$' -bench Queue ./scheduler
package queues
