// Package webhook sends notices about alerts to HTTP receivers, in the form of Alertmanager's webhook,
// version 4, so that whatever takes Alertmanager's notices takes these.
//
// Alerts with the same name are one group and travel in one notice. A new group waits a little for
// company ([Options].GroupWait); changes of a group that was told of wait for GroupInterval; one that goes
// on unchanged is told again after RepeatInterval. An alert that ended before anybody heard of it is not
// told of. What could not be sent is tried again, with growing delays, as the group then is: no queue of
// old notices builds up behind a receiver that is away.
//
// Non-goals: silences, inhibition and routing trees are Alertmanager's; point a webhook at one's
// /api/v2/alerts by way of Prometheus if you need them. Nothing is kept over a restart.
//
// Invariants: [Sender.Tell] never waits for a receiver. Memory is bounded by the alerts that are active and
// MaxAlerts for each receiver. A receiver that hangs delays only itself. Neither a URL nor a credential
// ever shows in a log, an error or [Status].
//
// Source: Alertmanager's documentation of webhook_config, group_wait, group_interval and repeat_interval.
package webhook
