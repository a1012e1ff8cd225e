// Package e2e tests the examples with real programs: Prometheus, promtool,
// Alertmanager and amtool, where they are present. It is a module of its own, so
// that what it needs is no dependency of the exporter. README.md says how to get
// the programs.
package e2e
