// Package servers starts Penstock and the caches that it is compared with, each a process of its own
// in front of one origin, on loopback addresses. A server that can't be had on this machine is left
// out with a word (see [Missing]).
//
// Peers: nginx and Varnish, as Debian packages them, with the settings that their manuals advise for
// what is measured; bare net/http that answers from memory; and the floor of what Penstock is made
// of, chi in front of otter, which keeps no rules at all.
package servers
