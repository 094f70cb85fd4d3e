// Package configs holds the configuration: one [Config] struct, its defaults, and everything that
// is derived from it.
//
// Purpose. [Load] reads a YAML, TOML or JSON file, the environment and the flags, lays them over
// each other (default < preset < file < environment < flag), checks all of it, and reports every
// fault at once with its file, line and key. From the struct's tags come the JSON schema
// ([Schema]), the reference page ([Reference]), the restart marks of [Diff] and the ranges that
// [Config.Validate] checks, so that each fact stands in one place.
//
// Inheritance. An upstream takes what it does not set from the sections workers, rates, pool,
// cache and batching; a route takes what it does not set from its upstream. Load fills these in, so
// a loaded Config is complete: nobody downstream needs a default. [Effective] says where each value
// comes from.
//
// Non-goals: it does not watch files (app polls [Fingerprint]), does not apply values, and does
// not know the knobs by name (the knobs section is checked by app against its registry).
//
// Invariants: a *Loaded is complete and valid, and never changes after Load returned it; faults
// come back all at once or not at all; secrets leave this package only through [Loaded.Secret]:
// everything printed is masked.
//
// Concurrency: all functions may be called at once. A Loaded may be read by any number of
// goroutines.
//
// Sources: the YAML merge key (yaml.org/type/merge.html), JSON Schema 2020-12; edit distance after
// Damerau (1964), restricted to neighbouring transpositions.
package configs
