// Package jobs shows what becomes of jobs when the process is killed, and what they cost.
//
//	go test -C bench ./jobs -run Kill -v                        a short form, which make test runs
//	go test -C bench ./jobs -run Kill -v -timeout 20m -args -full   50 kills in 10,000 jobs
//	go test -C bench ./jobs -run '^$' -bench .                  submissions, by callers and sync mode
//
// The process that is killed is this test's own binary, started anew with the whole service in it.
package jobs
