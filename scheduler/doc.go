// Package scheduler holds what must wait: for each upstream one queue, one set of permits and
// one set of rate windows.
package scheduler
