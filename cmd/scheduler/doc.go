// Command scheduler is Penstock's command line: it runs the service, and talks to one that runs.
//
// It is thin: package app is the service and package client the way to it. What stands here is
// flags, texts, signals and exit codes:
//
//	0  it worked
//	1  it did not: a faulty configuration, a refused call, a failed check
//	2  the command line itself is wrong
//
// Environment: PENSTOCK_URL (data plane), PENSTOCK_ADMIN_URL, PENSTOCK_ADMIN_TOKEN for the commands
// that talk to a running service; PENSTOCK_TRACES for the folder of request traces; and
// PENSTOCK_SECTION__KEY for the service's own settings.
package main
