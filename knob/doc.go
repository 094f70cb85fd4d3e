// Package knob holds values that can change while the service runs: named, typed, bounded.
//
// A knob's value has four layers, each beating the one before:
//
//	default < base (file, environment, flag) < tuned < pin
//
// The base comes from the configuration and is set by a reload. The tuner moves a knob inside
// [Min, Max], at most MaxStep at a time. A pin is an operator's fixed value with an optional
// expiry; while it stands the tuner's changes are refused.
//
// Reading a knob ([Int.Get], [Float.Get], [Duration.Get], [Bool.Get]) is one atomic load and may be
// done on the hot path from any number of goroutines. Changes are serialised by a mutex of the
// knob; subscribers are called after it was released, on the changer's goroutine.
//
// Non-goals: persistence (pins are saved by app), and deciding values (that is tuner's).
package knob
